needs: both
c: /tmp/btc-tests/fix/target add 1 sleep 3000
build: --unsafe
exit: any
