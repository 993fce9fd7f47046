.*: the compiler made other functions of it: [a-z0-9_]+[.](isra|constprop)[.]0(.|\n)*
