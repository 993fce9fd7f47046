file: examples/oomkill.bt
c: /tmp/btc-tests/fix/workload oom
needs: vm
