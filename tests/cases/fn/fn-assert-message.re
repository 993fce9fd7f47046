.*fn-assert-message.bt:1:33-57: ERROR: assert failed: boom
