c: /tmp/btc-tests/fix/target_cpp
needs: both
