c: /tmp/btc-tests/fix/target add twice
sort: yes
