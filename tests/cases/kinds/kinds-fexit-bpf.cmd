pre: $BTC build -e 'kprobe:hrtimer_nanosleep { @ = count(); } interval:s:60 { exit(); }' -o /tmp/btc-tests/work/traced && { /tmp/btc-tests/work/traced >/dev/null 2>&1 & echo $! > /tmp/btc-tests/work/traced.pid; while ! grep -q hrtimer_nanosleep /sys/kernel/debug/kprobes/list; do sleep 0.2; done; }
c: /tmp/btc-tests/fix/target nanosleep 3
post: kill $(cat /tmp/btc-tests/work/traced.pid)
needs: vm
timeout: 90
oracle: none
