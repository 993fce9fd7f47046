.*f0\+0 lies outside of the function, which has 0 bytes.*--unsafe.*
