c: /tmp/btc-tests/fix/target many
