pre: cc -g -O1 -fno-ipa-ra -fno-ipa-sra -fno-ipa-cp -o /tmp/btc-tests/work/abi /tmp/btc-tests/fix/abi.c
c: /tmp/btc-tests/work/abi
