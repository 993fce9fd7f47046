c: /tmp/btc-tests/fix/target nothing 2
sort: yes
