file: examples/profile.bt
c: /tmp/btc-tests/fix/workload spin 500
needs: both
