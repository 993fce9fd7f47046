(?s)TIME +COMM +PID +T BYTES +LAT_US FS +FILE\n(.*\n)?\d\d:\d\d:\d\d +workload +\d+ +R \d+ +\d+ \w+ +hostname\n(.*\n)?\d\d:\d\d:\d\d +workload +\d+ +W 10 +\d+ \w+ +btc-vfs-file\n?.*
