@\[\s*\n +do_nanosleep\+\d+\n +hrtimer_nanosleep\+\d+\n +\S+\+\d+\n\]: 2
