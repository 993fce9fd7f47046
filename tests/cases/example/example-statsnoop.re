(?s)PID +COMM +ERR PATH\n(.*\n)?\d+ +workload +2 /nonexistent/btc-stat\n\d+ +workload +0 /dev/null\n?.*
