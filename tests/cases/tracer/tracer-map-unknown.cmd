flags: --map @nosuch=5
exit: !0
streams: stderr
oracle: none
