flags: --version
oracle: none
