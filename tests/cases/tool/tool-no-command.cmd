mode: tool
exit: any
streams: both
oracle: none
