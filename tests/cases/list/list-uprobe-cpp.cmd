mode: tool
args: -l 'uprobe:/tmp/btc-tests/fix/target_cpp:cpp:fixns*'
sort: yes
oracle: none
