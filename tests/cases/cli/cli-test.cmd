mode: tool
args: --test -e 'test:good { assert(1 == 1, "no"); } test:bad { assert(1 == 2, "wrong"); } test:one { return 1; } begin { printf("begin\n"); }'
streams: both
exit: 1
