needs: vm
min_kernel: 6.1
pre: busybox modprobe sunrpc; busybox modprobe nfs
c: busybox timeout 5 busybox mount -t nfs -o nolock,addr=127.0.0.1,vers=3,soft,timeo=5,retrans=1 127.0.0.1:/x /mnt
exit: any
oracle: none
