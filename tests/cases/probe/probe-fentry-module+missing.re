.*No matches for fentry.nomodule:f(.|\n)*
