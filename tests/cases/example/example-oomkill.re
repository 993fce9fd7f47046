(?s)Tracing OOM kills\.\.\. Hit Ctrl-C to end\.\n\d\d:\d\d:\d\d triggered by PID \d+ \(workload\), kills PID \d+ \(workload\), \d+ pages, loadavg: [\d.]+ [\d.]+ [\d.]+ \d+/\d+ \d+\n?.*
