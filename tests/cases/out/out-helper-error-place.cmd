flags: -k
streams: both
oracle: none
