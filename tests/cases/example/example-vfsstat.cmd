file: examples/vfsstat.bt
c: /tmp/btc-tests/fix/workload files
needs: vm
