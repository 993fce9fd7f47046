needs: both
c: /tmp/btc-tests/fix/target spin 500