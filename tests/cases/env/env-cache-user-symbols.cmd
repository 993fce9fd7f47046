env: BPFTRACE_CACHE_USER_SYMBOLS=NONE
c: /tmp/btc-tests/fix/target add sleep 700
