needs: vm
c: sh -c 'cat /etc/passwd > /dev/null'
