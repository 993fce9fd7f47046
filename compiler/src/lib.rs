//! The compiler: script text in, executable tracer out.
//!
//! Modules stand in pipeline order; a stage imports the types of its input, its
//! own, and the leaves (`span`, `diagnostic`, `helper`, `btf`, `ctypes`, the
//! payload crate). Only `driver` knows the order.

pub mod btf;
pub mod clif;
pub mod ctypes;
pub mod diagnostic;
pub mod helper;
pub mod hir;
pub mod lower;
pub mod sema;
pub mod span;
pub mod syntax;
pub mod target;
