file: examples/tcpconnect.bt
c: /tmp/btc-tests/fix/workload tcp
needs: vm
