.*No matches for rawtracepoint.nomodule:sched_switch.*
