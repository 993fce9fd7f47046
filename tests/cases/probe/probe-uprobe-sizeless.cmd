pre: printf '.globl f0\n.type f0,@function\nf0: nop\nret\n.globl main\nmain: call f0\nxor %%eax,%%eax\nret\n.section .note.GNU-stack,"",@progbits\n' | cc -x assembler -o /tmp/btc-tests/work/sizeless -
exit: !0
streams: stderr
