 +\[inlined\] own_getppid@\S*inlined\.c:11
 +\[inlined\] middle@\S*inlined\.c:17
 +outer\+\d+@\S*inlined\.c:22
 +main\+\d+@\S*inlined\.c:30
(.*\n)*\t[0-9a-f]+ own_getppid \(inlined\)
\t[0-9a-f]+ middle \(inlined\)
\t[0-9a-f]+ outer\+\d+ \(/tmp/btc-tests/fix/inlined\)
