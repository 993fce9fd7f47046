flags: --check
needs: both
oracle: none
