c: /tmp/btc-tests/fix/target open
needs: vm
min_kernel: 6.12
