(?s)Tracing block device I/O\.\.\. Hit Ctrl-C to end\.\n@usecs\[\d+, \d+\]:\s*\n.*\|@{52}\|.*
