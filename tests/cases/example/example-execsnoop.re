(?s)TIME +PPID +PID +COMM +ARGS\n.*\d\d:\d\d:\d\d +\d+ +\d+ +workload +true alpha beta gamma\n?.*
