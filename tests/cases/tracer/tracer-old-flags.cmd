flags: --unsafe -kk --no-warnings -q
oracle: none
