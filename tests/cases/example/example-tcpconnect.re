(?s)TIME +PID +COMM +SADDR +SPORT +DADDR +DPORT\n.*\d\d:\d\d:\d\d +\d+ +workload +127\.0\.0\.1 +\d+ +127\.0\.0\.1 +40777\n\d\d:\d\d:\d\d +\d+ +workload +::1 +\d+ +::1 +40777\n?.*
