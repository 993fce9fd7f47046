(?s)tracepoint:syscalls:sys_enter_openat\n.*const char \* filename\n.*
