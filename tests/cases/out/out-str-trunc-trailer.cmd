env: BPFTRACE_MAX_STRLEN=10
env: BPFTRACE_STR_TRUNC_TRAILER=<cut>
c: /tmp/btc-tests/fix/target longstr
