c: /tmp/btc-tests/fix/target stack sleep 700
