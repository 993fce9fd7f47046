//! Syntax tree to typed tree.
//!
//! In: the parsed script and its imports, the type store, what the reference
//! knows of tracepoints and constants, the build's settings. Out:
//! `hir::Program`, or diagnostics. Files in order of use: `expand` (macros),
//! `config`, `probes` (attach points), `rounds` (inference), `checker` (its state),
//! and what it walks:
//! `stmt`, `expr`, `operators`, `access`, `convert`, `typeexpr`, `builtins`,
//! `calls`.

mod access;
mod builtins;
mod calls;
mod checker;
pub mod config;
mod convert;
pub mod expand;
mod expr;
mod operators;
pub mod probes;
mod rounds;
mod stmt;
mod script;
mod typeexpr;
mod typeinfo;
pub mod types;
mod userargs;

use crate::cobject::Functions;
use crate::ctypes::{CTypeId, TagKind, TypeStore};
use crate::debuginfo::Parameter;
use crate::hir::tree::Limits;
use btc_payload::binary::BinaryId;
use btc_payload::probe::{AttachPoint, LinePlace};
use std::rc::Rc;

pub use builtins::is_builtin;
pub use calls::usages;
pub use script::analyse;

/// A field of a tracepoint's record, as the reference knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct TracepointField {
    /// Name.
    pub name: String,
    /// Type; for `__data_loc` that of the data (an array of unknown length counts as a text when of `char`).
    pub ty: CTypeId,
    /// Offset in bytes.
    pub offset: u32,
    /// Size in bytes in the record.
    pub size: u32,
    /// Is it signed? Overrides the type's own signedness.
    pub signed: bool,
    /// `__data_loc`.
    pub data_loc: bool,
    /// `__rel_data_loc`.
    pub relative: bool,
}

/// A tracepoint of the reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracepoint {
    /// Category.
    pub category: String,
    /// Event.
    pub event: String,
    /// Fields without the common ones.
    pub fields: Vec<TracepointField>,
}

/// A constant of a C header.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    /// Number.
    Int(i64),
    /// Text.
    Text(String),
}

/// What is known about kernels besides their types, and about user binaries.
pub trait Facts {
    /// The tracepoints that two patterns match, in order of their names.
    fn tracepoints(&self, category: &str, event: &str) -> Vec<Rc<Tracepoint>>;
    /// The constant of that name in any header of the reference.
    fn constant(&self, name: &str) -> Option<Constant>;
    /// `category:event` of a tracepoint that is spelt nearly so, for suggestions.
    fn similar_tracepoint(&self, category: &str, event: &str) -> Option<String>;
    /// The parameters of a function of a user binary, and the build they hold for.
    fn user_parameters(&self, path: &str, function: &str) -> Result<(BinaryId, Vec<Parameter>), String> {
        let _ = function;
        Err(format!("{path} is not read here"))
    }
    /// A type of a user binary by its name, and the build that it holds for.
    fn user_type(&self, path: &str, tag: Option<TagKind>, name: &str) -> Option<(BinaryId, CTypeId)> {
        let _ = (path, tag, name);
        None
    }
    /// Where the code of a source line lies in a user binary, and in which build.
    fn user_line(&self, path: &str, file: &str, line: u32) -> Result<(BinaryId, Vec<LinePlace>), String> {
        let _ = (file, line);
        Err(format!("{path} is not read here"))
    }
    /// Size in bytes of a symbol of a user binary, if that can be read here.
    fn symbol_size(&self, path: &str, symbol: &str) -> Option<u64>;
}

/// All builtins and functions by name; some are both.
pub fn words() -> impl Iterator<Item = &'static str> {
    builtins::BUILTINS.iter().map(|b| b.name).chain(calls::names())
}

/// What a compilation is done with.
pub struct Environment<'a> {
    /// C types of the script and the kernel.
    pub types: &'a TypeStore,
    /// Tracepoints and constants.
    pub facts: &'a dyn Facts,
    /// Functions of imported C files.
    pub imported: &'a Functions,
    /// `--unsafe`: may system(), signal() and the like be used?
    pub allow_unsafe: bool,
    /// Settings given with the build (`--config`, environment); the script's own
    /// config block comes before them in effect.
    pub settings: Vec<(String, String)>,
    /// Limits in force, derived from the settings.
    pub limits: Limits,
    /// The probes that are wanted.
    pub purpose: Purpose,
    /// Values of `$1`, `$2`, ..., where the script is built to be run with just them.
    pub parameters: Vec<String>,
}

/// What a tracer is built for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// Tracing: without test: and bench: probes.
    #[default]
    Trace,
    /// Running the test: probes, and nothing else.
    Test,
    /// Running the bench: probes, and nothing else.
    Bench,
}

impl Purpose {
    /// Is such a probe wanted?
    fn wants(self, attach: &AttachPoint) -> bool {
        self == match attach {
            AttachPoint::Test { .. } => Purpose::Test,
            AttachPoint::Bench { .. } => Purpose::Bench,
            _ => Purpose::Trace,
        }
    }
}
