//! The compiler.

pub mod clif;
pub mod helper;
