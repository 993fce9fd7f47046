(?s)\[==========\] Running 3 tests.*OK \] good .*FAILED  \] bad .*FAILED  \] one .*PASSED  \] 1 test\..*FAILED  \] 2 tests, listed below:.*wrong.*
