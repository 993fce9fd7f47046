needs: vm
c: /tmp/btc-tests/fix/target nanosleep 3