//! The runtime that is built into this btc.
//!
//! In: what `build.rs` found. Out: the runtime's executable, and the sources it
//! was built from.

use anyhow::{Result, ensure};

/// The prebuilt runtime; empty when btc was built without one (`cargo check`, unit tests).
static RUNTIME: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/runtime"));

include!(concat!(env!("OUT_DIR"), "/runtime_sources.rs"));

/// The executable that payloads are linked into.
pub fn executable() -> Result<&'static [u8]> {
    ensure!(
        !RUNTIME.is_empty(),
        "this btc was built without a runtime, so it cannot make executables\n\
         help: build btc with `make build`; other forms of output (--emit) work with this one"
    );
    Ok(RUNTIME)
}

/// Sources of the runtime with its manifests and the workspace's: path and text.
pub fn sources() -> &'static [(&'static str, &'static str)] {
    RUNTIME_SOURCES
}
