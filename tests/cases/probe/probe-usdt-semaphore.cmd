sort: yes
c: /tmp/btc-tests/fix/target sem
needs: both
