mode: tool
args: build --emit bpf -e 'BEGIN { print(curtask->tgid); }'
oracle: none
