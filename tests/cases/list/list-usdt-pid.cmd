mode: tool
pre: /tmp/btc-tests/fix/target sleep 3000 >/dev/null 2>&1 & echo $! > /tmp/btc-tests/work/pid5; sleep 0.4
args: -p $(cat /tmp/btc-tests/work/pid5) -l 'usdt:*:tick*' | grep -c tick
