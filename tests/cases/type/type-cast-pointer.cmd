c: /tmp/btc-tests/fix/target ptr
