c: /tmp/btc-tests/fix/target str
