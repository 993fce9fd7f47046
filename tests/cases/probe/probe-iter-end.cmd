needs: both
oracle: none
