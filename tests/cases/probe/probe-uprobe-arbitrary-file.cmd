build: --unsafe
pre: printf '0123456789abcdef' > /tmp/btc-tests/work/notelf.bin
