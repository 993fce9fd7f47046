//! The compiler.

pub mod bpf;
pub mod clif;
pub mod helper;
pub mod opt;
