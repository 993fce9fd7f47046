pre: printf 'echo hi\n' > /tmp/btc-tests/work/plain; chmod +x /tmp/btc-tests/work/plain
c: /tmp/btc-tests/work/plain
streams: stderr
exit: 1
oracle: none
