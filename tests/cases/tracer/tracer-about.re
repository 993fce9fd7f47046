(?s).*tracepoint:syscalls:sys_enter_getppid.*
