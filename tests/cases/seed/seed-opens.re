(?s).*target           /nonexistent/btc
