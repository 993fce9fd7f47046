oracle: none
min_kernel: 6.1
