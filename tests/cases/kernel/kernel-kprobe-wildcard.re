(?s)(.*\n)?@\[kprobe:vfs_(read|write)\]: \d+\n(.*\n)?@\[kprobe:vfs_(read|write)\]: \d+(\n.*)?
