(?s).*Program pinned to /sys/fs/bpf/btc_tests_pin\n1
