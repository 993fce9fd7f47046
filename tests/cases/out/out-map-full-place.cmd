flags: -k
streams: stderr
