pre: cc -O1 -o avx_all ../fix/avx.c
c: /tmp/btc-tests/work/avx_all
streams: both
oracle: none
