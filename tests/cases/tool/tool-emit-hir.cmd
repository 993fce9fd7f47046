mode: tool
args: build --emit hir -e 'BEGIN { print(curtask->tgid); }'
oracle: none
