c: /tmp/btc-tests/fix/target thread
