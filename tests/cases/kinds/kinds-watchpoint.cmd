pre: sed -i "s/ADDR/0x$(nm /tmp/btc-tests/fix/target_static | awk '$3 == "g_watch" {print $1}')/" /tmp/btc-tests/work/kinds-watchpoint.bt
c: /tmp/btc-tests/fix/target_static watch 3
needs: both
