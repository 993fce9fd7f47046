 +outer\+\d+
 +main\+\d+
