(?s)PID +COMM +FD ERR PATH\n.*\d+ +workload +\d+ +0 /dev/null\n.*\d+ +workload +-1 +2 /nonexistent/btc-open\n?.*
