c: /tmp/btc-tests/fix/target openbad 1
needs: vm
