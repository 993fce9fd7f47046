(?s)Counting system calls\.\.\. Hit Ctrl-C to end\.\nTop 10 system call numbers:\n(@syscall\[\d+\]: \d+\n)+Top 10 processes:\n(@process\[[^\n]*\]: \d+\n)*@process\[workload\]: 5\d\d\d\n?.*
