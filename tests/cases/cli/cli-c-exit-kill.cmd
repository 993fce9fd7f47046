c: /tmp/btc-tests/fix/target sleep 60000
