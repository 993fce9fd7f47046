c: /tmp/btc-tests/fix/target open 1
needs: vm
