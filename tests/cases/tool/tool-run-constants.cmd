mode: tool
args: run -e '$1:$2 { printf("%s\n", probe); @ = lhist(5, $3, 10, $4); exit(); }' interval 100ms 0 5
