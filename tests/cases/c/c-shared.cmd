needs: vm
wants: clang
c: /bin/cat /dev/null
