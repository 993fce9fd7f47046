c: /tmp/btc-tests/fix/target open
needs: vm
min_kernel: 5.10
