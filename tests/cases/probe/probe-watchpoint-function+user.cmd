pre: cc -O0 -pthread -o /tmp/btc-tests/work/pwu /tmp/btc-tests/fix/watch.c && { setpriv --reuid 65534 --clear-groups /tmp/btc-tests/work/pwu thread 4300 sleep 4000 bump 2 join 1 sleep 300 >/dev/null 2>&1 & echo $! > /tmp/btc-tests/work/pwu.pid; }
flags: -p $(cat /tmp/btc-tests/work/pwu.pid)
oracle: none
