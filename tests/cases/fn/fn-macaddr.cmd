c: /tmp/btc-tests/fix/target mac
