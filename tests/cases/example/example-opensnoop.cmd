file: examples/opensnoop.bt
c: /tmp/btc-tests/fix/workload opens
needs: both
