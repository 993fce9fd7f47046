post: date +%Y-%m-%d > /tmp/btc-tests/work/today
