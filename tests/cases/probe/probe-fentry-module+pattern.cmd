pre: busybox modprobe loop
needs: vm
min_kernel: 6.1
oracle: none
