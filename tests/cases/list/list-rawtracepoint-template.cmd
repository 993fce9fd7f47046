mode: tool
args: -l 'rawtracepoint:sched_process_*' | grep -c template
exit: any
