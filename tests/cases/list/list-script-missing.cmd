mode: tool
args: -l -e 'tracepoint:syscalls:nothing_like_it* { }'
exit: 1
streams: stderr
