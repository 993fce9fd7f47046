file: examples/bashreadline.bt
c: /tmp/btc-tests/fix/workload shell
needs: both
