c: /tmp/btc-tests/fix/target nanosleep 2
needs: vm
min_kernel: 6.12
