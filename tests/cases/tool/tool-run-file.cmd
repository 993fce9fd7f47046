mode: tool
pre: echo 'BEGIN { print(str($1)); }' > /tmp/btc-tests/work/run-file.bt
args: run /tmp/btc-tests/work/run-file.bt word
oracle: none
