(?s)Measuring run queue latency\.\.\. Hit Ctrl-C to end\.\n@usecs:\s*\n(\[[^\n]*\) +\d+ \|@* *\|\n|\[\d+\] +\d+ \|@* *\|\n)*[^\n]*\|@* *\|
