c: /tmp/btc-tests/fix/target add neg 4
