file: examples/biolatency.bt
c: /tmp/btc-tests/fix/workload blocks
needs: vm
pre: if [ -x /run/vm/modprobe ]; then /run/vm/modprobe null_blk; fi
