//! The typed tree between sema and lowering.

pub mod tree;
pub mod types;
pub mod visit;
