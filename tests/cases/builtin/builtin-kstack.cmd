c: /tmp/btc-tests/fix/target nanosleep
