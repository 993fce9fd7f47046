mode: tool
args: run --info
oracle: none
