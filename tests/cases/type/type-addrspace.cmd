c: /tmp/btc-tests/fix/target chdir
