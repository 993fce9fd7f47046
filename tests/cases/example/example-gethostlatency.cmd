file: examples/gethostlatency.bt
c: /tmp/btc-tests/fix/workload lookup
needs: both
