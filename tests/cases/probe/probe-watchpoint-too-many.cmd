pre: sed -i "s/ADDR/0x$(nm /tmp/btc-tests/fix/target_static | awk '$3 == "g_watch" {print $1}')/g" /tmp/btc-tests/work/probe-watchpoint-too-many.bt
c: /tmp/btc-tests/fix/target_static watch 1
exit: !0
streams: stderr
oracle: none
