flags: -c "sh -c 'echo \"one  two\"; exec /tmp/btc-tests/fix/target getppid 1'"
oracle: none
