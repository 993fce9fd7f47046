pre: sed -i "s/ADDR/0x$(nm /tmp/btc-tests/fix/target_static | awk '$3 == "g_watch" {print $1}')/g" /tmp/btc-tests/work/probe-unwatch.bt
c: /tmp/btc-tests/fix/target_static watch 1 sleep 700 watch 1 sleep 700 watch 1
oracle: none
