btc-dir 750(\nbtc-dir 750)*
