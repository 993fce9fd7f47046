mode: tool
args: -l 'uprobe:/tmp/btc-tests/fix/target:add*'
sort: yes
