needs: both
c: /tmp/btc-tests/fix/target item str