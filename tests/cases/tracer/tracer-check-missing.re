(?s).*no_such_kernel_function.*
