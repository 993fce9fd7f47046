pre: cc -O0 -pthread -o /tmp/btc-tests/work/probe-watchpoint-function+missing /tmp/btc-tests/fix/watch.c
c: /tmp/btc-tests/work/probe-watchpoint-function+missing bump 3
exit: !0
streams: stderr
oracle: none
