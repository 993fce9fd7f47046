(rawtracepoint:sunrpc:rpc_clnt_new 1 1\n?)+
