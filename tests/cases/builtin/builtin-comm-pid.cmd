c: /tmp/btc-tests/fix/target sleep 300
