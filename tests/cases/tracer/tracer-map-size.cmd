flags: --map @a=2
oracle: none
