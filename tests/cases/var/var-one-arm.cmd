exit: compile
streams: both
