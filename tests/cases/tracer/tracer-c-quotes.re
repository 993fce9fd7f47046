one  two\n+@n: 1
