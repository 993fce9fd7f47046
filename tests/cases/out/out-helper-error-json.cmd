flags: -k -f json
oracle: none
