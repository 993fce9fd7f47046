pre: printf 'do_nanosleep\n' > /tmp/btc-tests/work/funcs.txt
flags: --traceable-functions /tmp/btc-tests/work/funcs.txt
c: /tmp/btc-tests/fix/target nanosleep 2
needs: vm
