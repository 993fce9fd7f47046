(.|\n)*work/plain: Exec format error(.|\n)*
