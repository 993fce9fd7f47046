(?s)\s*leaf\+0\s*\n(\s*mid\+\d+\s*\n)?\s*top\+\d+\s*(\n.*)?
