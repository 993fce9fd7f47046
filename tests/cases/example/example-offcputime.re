(?s)Tracing time off the processor\.\.\. Hit Ctrl-C to end\.\n.*@usecs\[\n(    [^\n]*\n)* +do_nanosleep\+\d+\n(    [^\n]*\n)+, workload\]: \d+\n?.*
