pre: /tmp/btc-tests/fix/target sleep 4000 twice 2 sleep 600 >/dev/null 2>&1 & echo $! > /tmp/btc-tests/work/pid1
flags: -p $(cat /tmp/btc-tests/work/pid1)
