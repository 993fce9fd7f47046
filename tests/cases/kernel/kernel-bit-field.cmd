needs: vm
c: /tmp/btc-tests/fix/workload sleep 1 reset
