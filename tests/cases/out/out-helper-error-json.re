\{"type": "helper_error", "msg": "Can't lookup map element because it does not exist.", "helper": "map_lookup_elem", "retcode": 0, "filename": "[^"]*", "line": 1, "col": 34\}
\{"type": "printf", "data": "0\\n"\}
?