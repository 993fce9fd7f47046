.*target:add\+2: the offset is in the middle of an instruction.*--unsafe.*
