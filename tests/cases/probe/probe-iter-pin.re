(?s).*Program pinned to /sys/fs/bpf/btc-tests_pin\n1
