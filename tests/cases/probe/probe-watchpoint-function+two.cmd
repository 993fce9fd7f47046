pre: cc -O0 -pthread -o /tmp/btc-tests/work/probe-watchpoint-function+two /tmp/btc-tests/fix/watch.c
c: /tmp/btc-tests/work/probe-watchpoint-function+two bump 3 other 2 bump 1
oracle: none
