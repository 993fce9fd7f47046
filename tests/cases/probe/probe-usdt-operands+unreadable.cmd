pre: cc -O1 -o /tmp/btc-tests/work/operands2 /tmp/btc-tests/fix/operands.c
c: /tmp/btc-tests/work/operands2
exit: !0
streams: stderr
oracle: none
