pre: cc -O1 -o /tmp/btc-tests/work/operands /tmp/btc-tests/fix/operands.c
c: /tmp/btc-tests/work/operands
needs: both
