btc v?\d+\.\d+\.\d+.*
