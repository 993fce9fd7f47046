(?s).*a header comment that --help shows.*--name.*--level.*
