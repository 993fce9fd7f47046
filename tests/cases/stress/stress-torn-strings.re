torn 0 hot [1-9]\d* cold 1
