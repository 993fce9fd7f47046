c: /tmp/btc-tests/fix/target tick 1 other 3
sort: yes
