needs: vm
c: /tmp/btc-tests/fix/workload files
