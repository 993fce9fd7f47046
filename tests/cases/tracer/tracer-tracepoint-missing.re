(?s).*nosuch.*
