(?s)Sampling at 99 Hertz\.\.\. Hit Ctrl-C to end\.\n.*@samples\[\n.*, workload\]: \d+\n?.*
