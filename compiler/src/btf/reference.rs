//! The bundled reference: a stock kernel's types, tracepoints and constants.
//!
//! In: the packs of stdlib/reference/data, embedded in this executable.
//! Out: BTF blobs, tracepoint formats, system calls and constants.
//! Invariants: nothing is decompressed before it is asked for. The data is
//! Debian's kernel for amd64 as stdlib/reference/regenerate.py found it; what
//! differs on other kernels is relocated on the target.

use anyhow::{Context, Result};

use super::pack::Pack;

static BTF: &[u8] = include_bytes!("../../../stdlib/reference/data/btf.pack");

/// The BTF of the reference kernel.
pub struct ReferenceBtf {
    pack: Pack,
}

impl ReferenceBtf {
    /// Opens it; reads the list of modules only.
    pub fn open() -> Result<Self> {
        Ok(ReferenceBtf {
            pack: Pack::open(BTF)?,
        })
    }

    /// The BTF of the kernel itself (`vmlinux`) or of a module.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let bytes = self.pack.read(name)?;
        bytes.with_context(|| format!("the reference has no BTF of {name}"))
    }

    /// Names of the modules, in the order that is cheapest to read.
    pub fn modules(&self) -> Vec<&str> {
        let mut names = self.pack.names();
        names.retain(|&name| name != "vmlinux");
        names
    }
}
