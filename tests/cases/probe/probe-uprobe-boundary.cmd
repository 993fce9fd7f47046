c: /tmp/btc-tests/fix/target add 1
exit: !0
streams: stderr
