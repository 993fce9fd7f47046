//! Text to syntax tree; knows no types.

pub mod ast;
pub mod c;
pub mod format;
pub mod parse;
pub mod print;
