//! Text to syntax tree; knows no types.

pub mod ast;
