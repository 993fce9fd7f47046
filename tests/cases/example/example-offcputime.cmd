file: examples/offcputime.bt
c: /tmp/btc-tests/fix/workload naps
needs: both
