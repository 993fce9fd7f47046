pre: cc -O1 -o /tmp/btc-tests/work/operands4 /tmp/btc-tests/fix/operands.c
c: /tmp/btc-tests/work/operands4
