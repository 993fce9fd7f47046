c: /tmp/btc-tests/fix/target spin 300
