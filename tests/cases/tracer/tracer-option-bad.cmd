flags: --nosuch
exit: 1
streams: stderr
oracle: none
