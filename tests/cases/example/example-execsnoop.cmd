file: examples/execsnoop.bt
c: /tmp/btc-tests/fix/workload execs
needs: both
