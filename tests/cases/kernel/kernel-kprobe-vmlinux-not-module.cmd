needs: vm
streams: stderr
exit: 1
