@\[fentry:vmlinux:vfs_(mk|rm)dir\]: [12]\n@\[fentry:vmlinux:vfs_(mk|rm)dir\]: [12]
