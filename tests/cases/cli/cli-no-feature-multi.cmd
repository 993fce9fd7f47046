flags: --no-feature kprobe_multi,uprobe_multi
c: /tmp/btc-tests/fix/target item
