c: /tmp/btc-tests/fix/target fault 8 sleep 20 fault 8 sleep 20 fault 8
