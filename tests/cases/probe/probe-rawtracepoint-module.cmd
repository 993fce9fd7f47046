c: /tmp/btc-tests/fix/target exec
oracle: none
