flags: -p 4194305
exit: !0
oracle: none
