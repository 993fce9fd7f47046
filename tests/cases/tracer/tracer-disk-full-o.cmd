flags: -o /dev/full
streams: stderr
exit: 1
oracle: none
