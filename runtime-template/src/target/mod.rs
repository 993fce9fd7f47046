//! Facts of the machine that the tracer runs on: its BTF, its tracefs, what its
//! kernel can do. Nothing here knows the script.

pub mod btf;
pub mod features;
pub mod files;
pub mod functions;
pub mod regex;
pub mod tracefs;
