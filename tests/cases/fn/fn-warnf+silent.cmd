streams: stderr
flags: --no-warnings
lacks: odd thing
