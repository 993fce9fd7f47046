pre: sed -i "s/ADDR/0x$(nm /tmp/btc-tests/fix/target_static | awk '$3 == "nothing" {print $1}')/" /tmp/btc-tests/work/probe-watchpoint-modes+x.bt
c: /tmp/btc-tests/fix/target_static nothing 4
