(?s)\s*leaf\+0(@\S+)?\s*\n(\s*mid\+\d+(@\S+)?\s*\n)?\s*top\+\d+(@\S+)?\s*(\n.*)?
