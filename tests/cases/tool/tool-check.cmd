mode: tool
pre: echo 'tracepoint:syscalls:sys_enter_openat { @[str(args.filename), curtask->real_parent->tgid] = count(); }' > /tmp/btc-tests/work/check.bt
args: check /tmp/btc-tests/work/check.bt --btf /sys/kernel/btf/vmlinux
oracle: none
