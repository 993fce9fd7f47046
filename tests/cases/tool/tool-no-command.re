(?s).*build.*run.*
