flags: -q -f json
keep: attached
