build: -I /tmp/btc-tests/fix/inc --include fixdefs.h
