c: /tmp/btc-tests/fix/target fault 64
