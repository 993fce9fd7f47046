needs: both
wants: clang
