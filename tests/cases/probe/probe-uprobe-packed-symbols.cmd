pre: cd /tmp/btc-tests/work && cc -O0 -o packed ../fix/target.c -pthread && objcopy --only-keep-debug packed mini && xz -kf mini && strip packed && objcopy --add-section .gnu_debugdata=mini.xz packed
c: /tmp/btc-tests/work/packed twice 2 str
oracle: none
