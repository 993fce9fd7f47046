(?s)TIME +PID +COMM +SIG +TPID +RESULT\n(.*\n)?\d\d:\d\d:\d\d +\d+ +workload +0 \d+ +0\n\d\d:\d\d:\d\d +\d+ +workload +9 4194305 -3\n?.*
