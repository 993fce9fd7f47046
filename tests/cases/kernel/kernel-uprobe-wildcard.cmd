needs: both
c: /tmp/btc-tests/fix/target twice 2
sort: yes
