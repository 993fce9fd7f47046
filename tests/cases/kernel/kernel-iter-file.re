fd 0 (1|true)
