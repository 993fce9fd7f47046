pre: mkdir -p /tmp/btc-tests/work/imph && chmod 755 /tmp/btc-tests/work/imph && printf 'struct imported { int a; long b; };\n' > /tmp/btc-tests/work/imph/t1.h
