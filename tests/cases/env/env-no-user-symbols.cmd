oracle: 0.17
env: BPFTRACE_NO_USER_SYMBOLS=1
c: /tmp/btc-tests/fix/target add sleep 500
