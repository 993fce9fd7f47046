mode: tool
args: --version
oracle: none
