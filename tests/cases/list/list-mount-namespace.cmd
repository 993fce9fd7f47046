mode: tool
pre: rm -f /tmp/btc-tests/work/listpid; unshare -m sh -c 'mount -t tmpfs none /mnt; cp /tmp/btc-tests/fix/target /mnt/hidden; echo $$ > /tmp/btc-tests/work/listpid; exec /mnt/hidden sleep 20000' >/dev/null 2>&1 & while [ ! -s /tmp/btc-tests/work/listpid ]; do sleep 0.1; done; sleep 0.3
args: -l -p $(cat /tmp/btc-tests/work/listpid) 'uprobe:libc:getppid,uprobe:/mnt/hidden:add,usdt:/mnt/hidden:other:*' | sed 's,/proc/[0-9]*/root.*/,ROOT/,'
post: kill $(cat /tmp/btc-tests/work/listpid)
oracle: none
