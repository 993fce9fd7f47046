pre: /tmp/btc-tests/fix/target sleep 4000 tick 2 sleep 600 >/dev/null 2>&1 & echo $! > /tmp/btc-tests/work/pid2
flags: -p $(cat /tmp/btc-tests/work/pid2)
