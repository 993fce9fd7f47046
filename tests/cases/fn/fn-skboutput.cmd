oracle: none
pre: /run/vm/bin/ifconfig lo up 2>/dev/null || ip link set lo up; rm -f /tmp/btc-tests/work/skb.pcap; true
c: /bin/bash /tmp/btc-tests/fix/conn.sh
post: od -An -tx1 -N4 /tmp/btc-tests/work/skb.pcap
needs: vm
