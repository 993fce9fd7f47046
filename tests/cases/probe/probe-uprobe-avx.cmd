pre: cc -O1 -o avx ../fix/avx.c
exit: !0
streams: stderr
oracle: none
