pre: $BTC build -e 'rawtracepoint:sched_process_exec { @ = count(); } interval:s:60 { exit(); }' -o /tmp/btc-tests/work/traced && { /tmp/btc-tests/work/traced >/dev/null 2>/tmp/btc-tests/work/traced.err & echo $! > /tmp/btc-tests/work/traced.pid; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do grep -q Attached /tmp/btc-tests/work/traced.err && break; sleep 0.5; done; }
c: /tmp/btc-tests/fix/target exec
post: kill $(cat /tmp/btc-tests/work/traced.pid)
needs: vm
timeout: 90
oracle: none
