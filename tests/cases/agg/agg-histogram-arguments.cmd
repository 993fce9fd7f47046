args: 2 8 2 1 --step=4
oracle: none
