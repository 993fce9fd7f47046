(?s)Counting VFS calls\.\.\. Hit Ctrl-C to end\.\n(.*\n)?@calls\[vfs_read\]: \d+\n?.*
