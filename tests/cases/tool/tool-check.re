(?s).*check\.bt.*
