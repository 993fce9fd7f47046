args: add
c: /tmp/btc-tests/fix/target add
needs: both
