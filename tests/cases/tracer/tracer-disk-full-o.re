(.|\n)*ERROR: cannot write output; it is lost from here on: No space left on device(.|\n)*
