args: 5 -- --name=bob --level 9
oracle: none
