flags: --about
oracle: none
