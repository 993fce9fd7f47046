file: examples/tcplife.bt
c: /tmp/btc-tests/fix/workload tcp
needs: both
