env: BPFTRACE_STACK_MODE=raw
c: /tmp/btc-tests/fix/target nanosleep
