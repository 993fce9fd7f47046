//! The contract between the compiler and the runtime.
//!
//! In: what the compiler knows of a script and ELF cannot say. Out: the same,
//! read back by the tracer on the target. Both sides take record sizes, field
//! offsets, formats and identifiers from here and state none of their own.
//! Does no I/O and depends on nothing of this project.

pub mod binary;
pub mod demangle;
pub mod event;
pub mod format;
pub mod header;
pub mod layout;
pub mod manifest;
pub mod probe;
pub mod start;
pub mod zeros;
