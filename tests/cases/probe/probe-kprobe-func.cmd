c: /tmp/btc-tests/fix/target nanosleep 1
needs: vm
