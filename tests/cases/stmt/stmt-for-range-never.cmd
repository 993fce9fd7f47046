needs: both
min_kernel: 6.1
