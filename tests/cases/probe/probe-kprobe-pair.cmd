c: /tmp/btc-tests/fix/target nanosleep 3
needs: vm
