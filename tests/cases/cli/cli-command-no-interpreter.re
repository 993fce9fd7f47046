(.|\n)*cannot execute the command: Exec format error(.|\n)*
