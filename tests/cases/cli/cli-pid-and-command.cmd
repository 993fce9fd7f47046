flags: -p 1
c: /bin/true
exit: !0
streams: stderr
