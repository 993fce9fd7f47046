one  two\n+@n: [12]
