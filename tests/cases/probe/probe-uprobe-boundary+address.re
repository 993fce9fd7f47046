.*0x10 lies in no function that /tmp/btc-tests/fix/target names.*--unsafe.*
