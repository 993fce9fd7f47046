mode: tool
args: -e 'BEGIN { print(5); }'
oracle: none
