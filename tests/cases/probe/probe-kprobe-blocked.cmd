args: $(awk '$2 !~ /[.]/ {print $2; exit}' /sys/kernel/debug/kprobes/blacklist)
needs: vm
exit: !0
streams: stderr
oracle: none
