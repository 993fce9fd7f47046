file: examples/biolatency.bt
c: /tmp/btc-tests/fix/workload blocks
needs: both
