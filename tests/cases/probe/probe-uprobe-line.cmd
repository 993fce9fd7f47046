pre: sed -i "s/LINE/$(grep -n 'int nothing(void)' /tmp/btc-tests/fix/target.c | cut -d: -f1)/" /tmp/btc-tests/work/probe-uprobe-line.bt
c: /tmp/btc-tests/fix/target nothing 2
