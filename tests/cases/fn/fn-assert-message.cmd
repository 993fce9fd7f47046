streams: stderr
exit: 1
