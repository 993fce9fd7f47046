pre: cc -O0 -Wl,--build-id=0xb7cb7cb7c00112233445566778899aabbccddeef -o /tmp/btc-tests/work/stripped /tmp/btc-tests/fix/target.c -pthread && mkdir -p /usr/lib/debug/.build-id/b7 && objcopy --only-keep-debug /tmp/btc-tests/work/stripped /usr/lib/debug/.build-id/b7/cb7cb7c00112233445566778899aabbccddeef.debug && strip /tmp/btc-tests/work/stripped
c: /tmp/btc-tests/work/stripped twice 2 str
post: rm /usr/lib/debug/.build-id/b7/cb7cb7c00112233445566778899aabbccddeef.debug
oracle: none
