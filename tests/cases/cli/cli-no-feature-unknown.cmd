flags: --no-feature kprobe_multi,printing
streams: both
exit: !0
