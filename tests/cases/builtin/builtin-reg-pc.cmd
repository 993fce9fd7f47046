c: /tmp/btc-tests/fix/target add
oracle: none
