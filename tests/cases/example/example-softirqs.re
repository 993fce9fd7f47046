(?s)Tracing soft interrupts\.\.\. Hit Ctrl-C to end\.\n.*@usecs\[(timer|hrtimer|sched|rcu)\]:\s*\n.*\|@{52}\|.*
