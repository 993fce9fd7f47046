(?s)TIME +PID +COMM +LAT_MS RESULT HOST\n(.*\n)?\d\d:\d\d:\d\d +\d+ +workload +\d+ +0 127\.0\.0\.1\n\d\d:\d\d:\d\d +\d+ +workload +\d+ +-\d+ btc-nosuchhost\n?.*
