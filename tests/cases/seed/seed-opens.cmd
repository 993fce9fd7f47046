c: /tmp/btc-tests/fix/target openbad 1
