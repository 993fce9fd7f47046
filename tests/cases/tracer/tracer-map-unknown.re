(?s).*@nosuch.*
