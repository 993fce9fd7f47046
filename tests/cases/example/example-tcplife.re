(?s)PID +COMM +LADDR +LPORT +RADDR +RPORT +TX_KB +RX_KB MS\n(.*\n)?\d+ +workload +127\.0\.0\.1 +\d+ +127\.0\.0\.1 +40777 +8 +0 \d+\n.*
