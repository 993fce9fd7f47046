c: /tmp/btc-tests/fix/target getppid 3
sort: yes
oracle: none
