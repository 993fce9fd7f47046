mode: tool
args: -lv 'uprobe:/tmp/btc-tests/fix/target:add'
