(?s).*level.*
