c: /tmp/btc-tests/fix/target getppid 2
