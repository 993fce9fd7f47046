(p0_rawtracepoint\n?)+
