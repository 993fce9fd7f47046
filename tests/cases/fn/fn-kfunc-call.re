(pid 1
?)+