file: examples/exitsnoop.bt
c: /tmp/btc-tests/fix/workload exits
needs: both
