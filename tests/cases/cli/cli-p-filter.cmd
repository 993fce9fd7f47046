pre: /tmp/btc-tests/fix/target sleep 4000 nanosleep 3 sleep 300 >/dev/null 2>&1 & echo $! > /tmp/btc-tests/work/pid4
flags: -p $(cat /tmp/btc-tests/work/pid4)
