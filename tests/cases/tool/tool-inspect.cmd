mode: tool
pre: echo 'BEGIN { @a[1] = curtask->tgid; }' > /tmp/btc-tests/work/inspect.bt
args: build /tmp/btc-tests/work/inspect.bt -o /tmp/btc-tests/work/inspect.bin && $BTC inspect /tmp/btc-tests/work/inspect.bin
oracle: none
