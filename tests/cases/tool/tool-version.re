btc \d+\.\d+\.\d+.*
