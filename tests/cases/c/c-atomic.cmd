needs: both
wants: clang
min_kernel: 5.12
