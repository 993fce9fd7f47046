pre: cc -O0 -pthread -o /tmp/btc-tests/work/probe-watchpoint-function /tmp/btc-tests/fix/watch.c
c: /tmp/btc-tests/work/probe-watchpoint-function bump 3 other 2
needs: both
oracle: none
