file: examples/killsnoop.bt
c: /tmp/btc-tests/fix/workload kills
needs: both
