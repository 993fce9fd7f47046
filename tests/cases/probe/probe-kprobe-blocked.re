.*: it is on the kernel's list of what must not be probed(.|\n)*
