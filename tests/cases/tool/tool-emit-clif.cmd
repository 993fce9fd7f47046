mode: tool
args: build --emit clif -e 'BEGIN { print(curtask->tgid); }'
oracle: none
