file: examples/runqlat.bt
c: /tmp/btc-tests/fix/workload naps
needs: both
