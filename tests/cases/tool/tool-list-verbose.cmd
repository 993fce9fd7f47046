mode: tool
args: list -v tracepoint:syscalls:sys_enter_openat
oracle: none
