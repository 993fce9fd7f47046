 +\[inlined\] own_getppid@\S*inlined\.c:11
 +\[inlined\] middle@\S*inlined\.c:17
 +outer\+\d+@\S*inlined\.c:22
 +main\+\d+@\S*inlined\.c:30
