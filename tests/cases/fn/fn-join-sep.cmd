c: /tmp/btc-tests/fix/target argv
