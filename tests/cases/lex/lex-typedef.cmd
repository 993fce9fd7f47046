build: -I /tmp/btc-tests/fix/inc
