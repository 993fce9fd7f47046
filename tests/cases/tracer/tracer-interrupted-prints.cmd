until: INT 1
oracle: none
