c: /tmp/btc-tests/fix/target sleep 1500
needs: vm
