mode: tool
args: build --emit obj -e 'tracepoint:syscalls:sys_enter_openat { @[comm] = count(); }' -o /tmp/btc-tests/work/emit.o && od -An -c -N4 /tmp/btc-tests/work/emit.o
oracle: none
