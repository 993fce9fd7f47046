(?s)TIME +PPID +PID +COMM +AGE_MS +STATUS SIG\n(.*\n)?\d\d:\d\d:\d\d +\d+ +\d+ +workload +[2-9]\d+ +3 +0\n(.*\n)?\d\d:\d\d:\d\d +\d+ +\d+ +workload +\d+ +0 +9\n?.*
