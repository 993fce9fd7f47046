(.|\n)*no matches for tracepoint:syscalls:nothing_like_it\*(.|\n)*
