c: /tmp/btc-tests/fix/target open
needs: vm
