build: --unsafe --no-warnings
c: /tmp/btc-tests/fix/target writable
needs: vm
