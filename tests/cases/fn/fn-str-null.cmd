c: /tmp/btc-tests/fix/target badptr
