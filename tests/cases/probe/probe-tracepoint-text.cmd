c: /bin/sh -c "/bin/true; /bin/true"
needs: both
