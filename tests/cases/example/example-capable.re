(?s)TIME +UID +PID +COMM +CAP NAME\n(.*\n)?\d\d:\d\d:\d\d +0 +\d+ +workload +18 CAP_SYS_CHROOT\n?.*
