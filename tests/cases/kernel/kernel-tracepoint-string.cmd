needs: both
c: /tmp/btc-tests/fix/workload execs
