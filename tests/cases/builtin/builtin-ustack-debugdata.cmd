pre: objcopy -g --set-section-flags .text=alloc /tmp/btc-tests/fix/inlined mini && xz -kf mini && strip -o brief /tmp/btc-tests/fix/inlined && objcopy --add-section .gnu_debugdata=mini.xz brief
c: /tmp/btc-tests/work/brief
oracle: none
