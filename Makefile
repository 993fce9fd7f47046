# make demo     installs what is missing, builds btc, shows a tracer at work (root)
# make test     installs what is missing, builds btc, runs all tests
# make build    builds btc: target/release/btc
#
# Also: deps, kernels, lint, bench, dist, clean. Nothing is installed outside of
# this directory, except packages by `deps` and kernels by `kernels` (a cache).

CARGO ?= cargo
TARGET := x86_64-unknown-linux-gnu
ROOT := $(CURDIR)
BTC := $(ROOT)/target/release/btc

# The runtime has a target directory of its own: its flags differ, and a change
# of flags builds libbpf and libelf again.
STUB_DIR := $(ROOT)/target/stub
STUB := $(STUB_DIR)/$(TARGET)/stub/btc-runtime

# compiler/build.rs embeds this file; naming it makes Cargo notice when it appears.
# Not for `lint`, which needs no runtime.
build test dist: export BTC_RUNTIME := $(STUB)

# Static, and free of the paths of this machine. Encoded, so that directories
# may have blanks in their names.
CARGO_HOME_DIR := $(or $(CARGO_HOME),$(HOME)/.cargo)
STATIC_FLAGS = $$(printf '%s\037' -Ctarget-feature=+crt-static \
	"--remap-path-prefix=$(ROOT)=btc")"--remap-path-prefix=$(CARGO_HOME_DIR)=cargo"

# For the link of the runtime only: relocations in their packed form (glibc 2.36),
# no unwind tables, functions of the same code and equal ends of texts once. 300 KB
# less. The same in compiler/src/link/project.rs.
STUB_LINK := -Clink-arg=-Wl,-z,pack-relative-relocs -Clink-arg=-Wl,--no-eh-frame-hdr \
	-Clink-arg=-Wl,--icf=all -Clink-arg=-Wl,-O2 \
	"-Clink-arg=-Wl,-T,$(ROOT)/runtime-template/stub.ld"

.PHONY: all build stub deps kernels demo test lint bench dist clean
all: build

build: stub
	$(CARGO) build --locked --release -p btc

stub:
	CARGO_ENCODED_RUSTFLAGS=$(STATIC_FLAGS) CARGO_TARGET_DIR="$(STUB_DIR)" \
	$(CARGO) rustc --locked -p btc-runtime --bin btc-runtime --profile stub --target $(TARGET) -- $(STUB_LINK)
	@RUST_BACKTRACE=1 "$(STUB)" >/dev/null 2>&1; [ $$? = 1 ] || \
	{ echo "error: the runtime that was built does not start (is glibc older than 2.36?)" >&2; exit 1; }

deps:
	@packaging/deps

# Kernels of the VM matrix. Without them its tests are skipped, and say so.
kernels: deps
	@packaging/kernels

demo: deps
	@$(MAKE) --no-print-directory build
	@packaging/demo "$(BTC)"

test: deps kernels
	@$(MAKE) --no-print-directory build
	BTC="$(BTC)" BTC_TEST_CRATE=1 $(CARGO) test --locked --workspace

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

bench: build
	@packaging/bench "$(BTC)"

# btc itself is static in the archive, so that it runs on any distribution.
dist: stub
	CARGO_ENCODED_RUSTFLAGS=$(STATIC_FLAGS) CARGO_TARGET_DIR="$(ROOT)/target/static" \
	$(CARGO) build --locked --release -p btc --target $(TARGET)
	@packaging/dist "$(ROOT)/target/static/$(TARGET)/release/btc" "$(ROOT)/target/dist"

clean:
	$(CARGO) clean
