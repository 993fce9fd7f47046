streams: both
post: cat /sys/fs/bpf/btc_tests_pin | grep -c ':1$'; rm -f /sys/fs/bpf/btc_tests_pin
needs: vm
