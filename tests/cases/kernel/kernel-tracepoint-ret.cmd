needs: both
c: /tmp/btc-tests/fix/target openbad 2
