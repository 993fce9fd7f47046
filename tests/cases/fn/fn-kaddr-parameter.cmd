args: vfs_read /sys/fs/cgroup
