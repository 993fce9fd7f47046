needs: vm
wants: clang
min_kernel: 6.1
c: /bin/sh -c "cat /etc/hostname > /dev/null; echo >/dev/null"
