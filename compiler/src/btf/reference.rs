//! The bundled reference: a stock kernel's types, tracepoints and constants.
//!
//! In: the files of stdlib/reference/data, compressed into this executable.
//! Out: BTF blobs, tracepoint formats, system calls and constants.
//! Invariants: nothing is decompressed before it is asked for.

use anyhow::{Result, bail};

/// The BTF of the reference kernel (`vmlinux`) or of one of its modules.
pub fn btf(name: &str) -> Result<Vec<u8>> {
    bail!("the reference has no BTF of {name}")
}

/// Names of the modules whose BTF the reference has, sorted.
pub fn modules() -> Result<Vec<String>> {
    Ok(Vec::new())
}
