//! The typed tree between sema and lowering.

pub mod print;
pub mod tree;
pub mod types;
pub mod verify;
pub mod visit;
