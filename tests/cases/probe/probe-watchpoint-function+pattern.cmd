pre: cc -O0 -pthread -o /tmp/btc-tests/work/probe-watchpoint-function+pattern /tmp/btc-tests/fix/watch.c
c: /tmp/btc-tests/work/probe-watchpoint-function+pattern bump 3
oracle: none
