build: --no-warnings
streams: stderr
lacks: Return value discarded
