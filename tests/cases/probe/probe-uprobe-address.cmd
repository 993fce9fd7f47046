pre: sed -i "s/ADDR/0x$(nm /tmp/btc-tests/fix/target_static | awk '$3 == "add" {print $1}')/" /tmp/btc-tests/work/probe-uprobe-address.bt
c: /tmp/btc-tests/fix/target_static add 2
