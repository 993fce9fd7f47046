flags: --debuginfo /tmp/btc-tests/fix
c: /tmp/btc-tests/fix/target add 1
