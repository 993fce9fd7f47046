file: examples/syscount.bt
c: /tmp/btc-tests/fix/workload syscalls
needs: both
