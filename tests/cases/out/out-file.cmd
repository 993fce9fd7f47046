flags: -o /tmp/btc-tests/work/out-file.txt
post: echo "file:"; cat /tmp/btc-tests/work/out-file.txt
