mode: tool
args: build --emit clif-opt -e 'BEGIN { print(curtask->tgid); }'
oracle: none
