needs: both
build: --unsafe
