file: examples/loads.bt
c: /tmp/btc-tests/fix/workload sleep 1500
needs: vm
