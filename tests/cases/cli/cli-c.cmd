c: /tmp/btc-tests/fix/target say
