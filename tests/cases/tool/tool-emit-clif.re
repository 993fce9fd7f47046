(?s).*function.*
