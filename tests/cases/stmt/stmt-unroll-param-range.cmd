args: 200
exit: !0
