c: /tmp/btc-tests/fix/target getppid 3
needs: vm
min_kernel: 6.1
streams: stderr
