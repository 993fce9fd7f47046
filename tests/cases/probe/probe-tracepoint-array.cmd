c: /bin/sh -c "ulimit -n 64"
needs: both
min_kernel: 5.10
sort: yes
