mode: tool
args: list --btf /nonexistent 'fentry:vfs_read'
exit: !0
streams: stderr
oracle: none
