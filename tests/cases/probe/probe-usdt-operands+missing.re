(.|\n)*WARNING: .*operands\+missing.bt:1:1: the probe has 2 arguments: arg5 is 0(.|\n)*
