pre: cc -O0 -pthread -o /tmp/btc-tests/work/pwp /tmp/btc-tests/fix/watch.c && { /tmp/btc-tests/work/pwp thread 4300 sleep 4000 bump 2 join 1 sleep 300 >/dev/null 2>&1 & echo $! > /tmp/btc-tests/work/pwp.pid; }
flags: -p $(cat /tmp/btc-tests/work/pwp.pid)
oracle: none
