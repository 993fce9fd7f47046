c: /tmp/btc-tests/fix/target fork
