c: /tmp/btc-tests/fix/inlined
oracle: none
