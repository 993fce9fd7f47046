c: /tmp/btc-tests/fix/target ip4
