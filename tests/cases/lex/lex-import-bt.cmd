build: 
pre: mkdir -p /tmp/btc-tests/work/imp && chmod 755 /tmp/btc-tests/work/imp && printf 'macro from_import(x) { x * 3 }\n' > /tmp/btc-tests/work/imp/lib1.bt
