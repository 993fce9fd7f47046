(.|\n)*-p and -c(.|\n)*
