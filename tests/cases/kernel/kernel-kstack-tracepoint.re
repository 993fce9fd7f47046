(?s).*do_nanosleep\+\d+\n.*
