needs: both
build: --no-warnings
