flags: --usdt-file-activation
sort: yes
c: /tmp/btc-tests/fix/target sem
