pre: /run/vm/bin/ifconfig lo up 2>/dev/null || ip link set lo up; true
c: /bin/bash /tmp/btc-tests/fix/conn.sh
needs: vm
min_kernel: 6.1
