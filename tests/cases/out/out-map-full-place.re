(?s).*:2:20-29: WARNING: Map full.*retcode: -7\n.*:2:48-63: WARNING: Map full.*2 updates were refused.*
