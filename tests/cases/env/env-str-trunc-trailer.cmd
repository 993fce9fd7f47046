env: BPFTRACE_MAX_STRLEN=8
env: BPFTRACE_STR_TRUNC_TRAILER=~~
c: /tmp/btc-tests/fix/target str
