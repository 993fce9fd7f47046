env: BPFTRACE_MAX_STRLEN=6
c: /tmp/btc-tests/fix/target str
