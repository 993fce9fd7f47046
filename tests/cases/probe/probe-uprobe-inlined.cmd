c: /tmp/btc-tests/fix/target inl 3
exit: any
