env: BPFTRACE_LAZY_SYMBOLICATION=1
c: /tmp/btc-tests/fix/target add sleep 700
