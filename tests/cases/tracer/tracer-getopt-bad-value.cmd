args: -- --level=many
exit: !0
streams: stderr
oracle: none
