pre: sed -i "s/ADDR/0x$(nm /tmp/btc-tests/fix/target_static | awk '$3 == "g_watch" {print $1}')/" /tmp/btc-tests/work/probe-watchpoint-short.bt
c: /tmp/btc-tests/fix/target_static watch 2
