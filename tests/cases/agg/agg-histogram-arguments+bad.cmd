args: 0 10 0 1
exit: !0
streams: stderr
oracle: none
