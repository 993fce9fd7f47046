oracle: 0.17
env: BPFTRACE_STRLEN=6
c: /tmp/btc-tests/fix/target str
