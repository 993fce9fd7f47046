exit: fail
streams: stderr
oracle: none
