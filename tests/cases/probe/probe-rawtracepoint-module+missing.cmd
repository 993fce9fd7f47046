exit: !0
streams: stderr
