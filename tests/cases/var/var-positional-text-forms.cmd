args: abc
