(.|\n)*No matches for kprobe vmlinux:ovl_open\. If this(.|\n)*
