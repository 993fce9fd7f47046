mode: tool
args: run -e 'BEGIN { printf("%d\n", $1 + 1); }' 41
oracle: none
