file: examples/capable.bt
c: /tmp/btc-tests/fix/workload capabilities
needs: vm
