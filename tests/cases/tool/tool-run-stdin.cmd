mode: tool
args: run - < /tmp/btc-tests/work/run-stdin.bt
pre: echo 'BEGIN { print(9); }' > /tmp/btc-tests/work/run-stdin.bt
oracle: none
