file: examples/statsnoop.bt
c: /tmp/btc-tests/fix/workload stats
needs: both
