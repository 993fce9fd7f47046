wants: clang
