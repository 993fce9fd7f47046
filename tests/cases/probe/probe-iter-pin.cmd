streams: both
post: cat /sys/fs/bpf/btc-tests_pin | grep -c ':1$'; rm -f /sys/fs/bpf/btc-tests_pin
needs: vm
