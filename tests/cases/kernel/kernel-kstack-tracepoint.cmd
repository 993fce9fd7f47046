needs: both
c: /tmp/btc-tests/fix/target nanosleep 4
