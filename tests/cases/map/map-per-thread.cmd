c: /tmp/btc-tests/fix/target add 2
needs: both
