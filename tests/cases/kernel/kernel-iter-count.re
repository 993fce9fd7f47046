(?s)(.*\n)?(tasks|@n: \d+)(\n.*)?
