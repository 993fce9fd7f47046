flags: --check
exit: !0
streams: both
needs: vm
oracle: none
