file: examples/vfsslower.bt
c: /tmp/btc-tests/fix/workload files
needs: vm
args: 0
