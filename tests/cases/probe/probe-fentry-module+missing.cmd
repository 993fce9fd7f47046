needs: vm
exit: !0
streams: stderr
oracle: none
