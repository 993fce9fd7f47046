args: 2
c: /tmp/btc-tests/fix/target add 5
