needs: vm
c: sh -c 'grep -o "^virtio " /proc/modules; cat /sys/bus/virtio/devices/virtio0/vendor'
oracle: none
