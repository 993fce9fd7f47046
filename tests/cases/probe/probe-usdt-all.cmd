pre: /tmp/btc-tests/fix/target sleep 300 tick 2 sleep 300 >/dev/null 2>&1 & echo $! > /tmp/btc-tests/work/pid2; sleep 0.1; kill -STOP $(cat /tmp/btc-tests/work/pid2)
build: --unsafe
flags: -p $(cat /tmp/btc-tests/work/pid2)
args: $(cat /tmp/btc-tests/work/pid2)
