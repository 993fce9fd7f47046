build: --unsafe
c: /tmp/btc-tests/fix/target add say
