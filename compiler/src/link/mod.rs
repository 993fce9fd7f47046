//! The executable: a payload put into the prebuilt runtime.
//!
//! In: payload bytes. Out: an executable file, or (`--emit crate`) the Cargo
//! project that builds it. No linker and no Rust toolchain is involved in the
//! former.

mod embed;
mod output;
pub mod project;
pub mod template;

pub use embed::{link, payload_of};
pub use output::write_executable;

#[cfg(test)]
mod tests;
