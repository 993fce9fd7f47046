timeout: 60
oracle: none
