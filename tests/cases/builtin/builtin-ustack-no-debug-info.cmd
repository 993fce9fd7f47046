c: /tmp/btc-tests/fix/inlined
env: BPFTRACE_SHOW_DEBUG_INFO=false
oracle: none
