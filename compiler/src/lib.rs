//! The compiler: script text in, executable tracer out.
//!
//! Modules stand in pipeline order behind the leaves (`span`, `diagnostic`,
//! `helper`, `target`, `btf`, `ctypes`, `cobject`, the payload crate). A stage imports the
//! types of its input, its own, and the leaves. Only `driver` knows the order.
//! `list` is no stage: it shows what there is to trace, and nothing imports it
//! but the command line.

pub mod span;
pub mod diagnostic;
pub mod helper;
pub mod target;
pub mod btf;
pub mod ctypes;
pub mod cobject;
pub mod debuginfo;
pub mod paths;

pub mod syntax;
pub mod sema;
pub mod hir;
pub mod lower;
pub mod clif;
pub mod opt;
pub mod bpf;
pub mod elf;
pub mod link;

pub mod driver;
pub mod list;
pub mod cli;
