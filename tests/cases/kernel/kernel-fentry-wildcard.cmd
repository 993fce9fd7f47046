needs: vm
c: /tmp/btc-tests/fix/workload dirs
sort: yes
