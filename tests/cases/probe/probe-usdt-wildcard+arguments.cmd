c: /tmp/btc-tests/fix/target plain other 3
