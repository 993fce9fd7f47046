(?s).*--nosuch.*
