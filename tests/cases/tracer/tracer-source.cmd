flags: --source
oracle: none
