pre: objcopy --only-keep-debug --compress-debug-sections=zlib /tmp/btc-tests/fix/inlined linked.debug && strip -o linked /tmp/btc-tests/fix/inlined && objcopy --add-gnu-debuglink=linked.debug linked
c: /tmp/btc-tests/work/linked
oracle: none
