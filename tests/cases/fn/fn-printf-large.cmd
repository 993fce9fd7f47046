c: /tmp/btc-tests/fix/target longstr
