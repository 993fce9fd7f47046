args: 5 abc 1e3
