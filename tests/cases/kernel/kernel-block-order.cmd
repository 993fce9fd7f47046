needs: vm
c: /bin/sync
