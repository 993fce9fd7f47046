pre: rm -f /tmp/btc-tests/work/nspid; unshare -m sh -c 'mount -t tmpfs none /mnt; cp /tmp/btc-tests/fix/target /mnt/hidden; echo $$ > /tmp/btc-tests/work/nspid; exec /mnt/hidden sleep 2000 twice 2 sleep 300' >/dev/null 2>&1 & while [ ! -s /tmp/btc-tests/work/nspid ]; do sleep 0.1; done; sleep 0.3; kill -STOP $(cat /tmp/btc-tests/work/nspid)
build: --unsafe
flags: -p $(cat /tmp/btc-tests/work/nspid)
args: $(cat /tmp/btc-tests/work/nspid)
needs: both
oracle: none
