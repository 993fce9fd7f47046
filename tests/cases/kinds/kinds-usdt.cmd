needs: both
c: /tmp/btc-tests/fix/target tick 2
