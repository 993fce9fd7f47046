mode: tool
args: build --emit ast -e 'BEGIN { print(curtask->tgid); }'
oracle: none
