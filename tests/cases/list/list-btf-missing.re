(.|\n)*cannot use /nonexistent as BTF(.|\n)*
