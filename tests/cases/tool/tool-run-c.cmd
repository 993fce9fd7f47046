mode: tool
args: run -e 'tracepoint:syscalls:sys_enter_getppid /pid == cpid/ { @ = count(); }' -c "/tmp/btc-tests/fix/target getppid 3"
oracle: none
