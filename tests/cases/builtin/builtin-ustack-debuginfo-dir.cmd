pre: mkdir -p elsewhere && objcopy --only-keep-debug /tmp/btc-tests/fix/inlined elsewhere/apart.debug && strip -o apart /tmp/btc-tests/fix/inlined && objcopy --add-gnu-debuglink=elsewhere/apart.debug apart
c: /tmp/btc-tests/work/apart
oracle: none
flags: --debuginfo /tmp/btc-tests/work/elsewhere
