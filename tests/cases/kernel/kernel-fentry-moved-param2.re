to in 1(\nto in 1)*
