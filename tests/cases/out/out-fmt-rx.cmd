c: /tmp/btc-tests/fix/target bin
