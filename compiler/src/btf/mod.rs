//! BTF in and out: reading kernels' type information, writing the object's own.
//!
//! In: BTF blobs (files, the running kernel's, the bundled reference).
//! Out: records by id and name for `ctypes`; the object's `.BTF` and `.BTF.ext`.
//! Invariants: a leaf, it knows no stage of the compiler.

pub mod copy;
pub mod core;
pub mod encode;
pub mod header;
mod ext;
mod local;
mod pack;
pub mod raw;
pub mod reference;
pub mod sites;
pub mod source;
#[cfg(test)]
mod tests;
pub mod tracepoint;
mod write;

pub use raw::{Btf, Kind, Record};
pub use source::BtfSources;
