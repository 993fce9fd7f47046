(?s)TIME +PID +COMMAND\n(.*\n)?\d\d:\d\d:\d\d +\d+ +echo btc readline\n\d\d:\d\d:\d\d +\d+ +exit\n?.*
