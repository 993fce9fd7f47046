(virtio \n((matched kprobe:virtio:vendor_show|named vendor_show|0x1af4)\n?){3}|0x1af4(\nkernel)?\n?)
