file: examples/softirqs.bt
c: /tmp/btc-tests/fix/workload naps
needs: both
