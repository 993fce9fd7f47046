needs: both
c: /tmp/btc-tests/fix/target fault 20
