flags: -o /tmp/btc-tests/work/torn.txt
c: /tmp/btc-tests/fix/workload strings
timeout: 60
streams: stdout
post: f=/tmp/btc-tests/work/torn.txt; echo torn $(grep -v '^Attach' $f | grep -cvE '^(h{199}|c{199}|)$') hot $(grep -c h $f) cold $(($(grep -c c $f) > 0))
oracle: none
