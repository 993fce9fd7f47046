pre: cc -O0 -pthread -o /tmp/btc-tests/work/probe-watchpoint-function+async /tmp/btc-tests/fix/watch.c
c: /tmp/btc-tests/work/probe-watchpoint-function+async other 1 sleep 300 other 1 sleep 100
oracle: none
