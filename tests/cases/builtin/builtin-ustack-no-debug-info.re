 +outer\+\d+
 +main\+\d+
(.*\n)*\t[0-9a-f]+ outer\+\d+ \(/tmp/btc-tests/fix/inlined\)
