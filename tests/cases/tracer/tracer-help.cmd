flags: --help
oracle: none
