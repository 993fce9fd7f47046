env: CPATH=/tmp/btc-tests/fix/inc
