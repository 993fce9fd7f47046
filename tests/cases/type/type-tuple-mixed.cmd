needs: both
