(?s).*task_struct.*
