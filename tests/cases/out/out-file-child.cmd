flags: -o /tmp/btc-tests/work/out-file2.txt
c: /tmp/btc-tests/fix/target say
post: grep -c said /tmp/btc-tests/work/out-file2.txt
