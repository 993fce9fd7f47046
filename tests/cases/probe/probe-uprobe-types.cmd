c: /tmp/btc-tests/fix/target item
