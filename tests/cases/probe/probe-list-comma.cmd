c: /tmp/btc-tests/fix/target nanosleep add
sort: yes
