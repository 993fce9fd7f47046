env: BPFTRACE_CPP_DEMANGLE=0
c: /tmp/btc-tests/fix/target_cpp wait
