mode: tool
args: -l 'usdt:/tmp/btc-tests/fix/target:*'
sort: yes
