needs: both
c: /tmp/btc-tests/fix/target stack 1 sleep 2000
