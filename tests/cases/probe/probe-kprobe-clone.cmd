args: $(awk '$3 ~ /^[a-z0-9_]+[.](isra|constprop)[.]0$/ {split($3, n, "."); print n[1]; exit}' /proc/kallsyms)
needs: vm
exit: !0
streams: stderr
oracle: none
