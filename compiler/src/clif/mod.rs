//! The IR of a compiled script and the builder that makes it.
//!
//! Input: calls from `lower`. Output: a [`Module`] of functions in Cranelift's
//! IR (CLIF) that keeps to the dialect the BPF back end selects from.
//!
//! CLIF is generic; BPF programs must moreover convince the kernel's verifier.
//! This module is the only place that names CLIF opcodes to emit, so that the
//! conventions which make the difference live in one place:
//!
//! * every scalar is an `i64`; narrow types exist only beside a memory access
//!   or a comparison, and never leave this module;
//! * whatever the optimiser must not look into (a map, a field offset that the
//!   target's BTF decides, a divisor) is a [`Symbol`]: `symbol_value` is pure,
//!   hence merged and deleted like a constant, but no rewrite rule sees through
//!   it and two symbols never become one;
//! * a pointer ([`Ptr`]) knows what it points to, and from that follow the
//!   memory flags, which decide whether a load may move above a null check;
//! * nothing here knows the script language.
//!
//! A function that lowers code never sees a `cranelift_*` type.

mod arith;
mod builder;
pub(crate) mod dialect;
mod flow;
mod memory;
mod symbol;
#[cfg(test)]
mod tests;

use std::fmt;

use cranelift_codegen::ir;

pub use builder::FuncBuilder;
pub use flow::{If, Loop};
pub use memory::StackMark;
pub use symbol::{Symbol, SymbolId, SymbolTable};

pub(crate) use symbol::Namespace;

/// A scalar or an address: always 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value(pub(crate) ir::Value);

/// A condition: the result of a comparison, or any value tested for non-zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bool(pub(crate) ir::Value);

/// A local variable; the builder turns its assignments into SSA form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Var(pub(crate) cranelift_frontend::Variable);

/// A basic block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block(pub(crate) ir::Block);

/// An address with a constant displacement, and what lies there.
///
/// The displacement stays out of the address until an access or a call needs
/// it: equal bases stay equal values, which is what alias analysis compares,
/// and the verifier never sees a modified context pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ptr {
    pub(crate) base: ir::Value,
    pub(crate) offset: i32,
    pub(crate) mem: Mem,
}

impl Ptr {
    /// What this pointer points to.
    pub fn mem(self) -> Mem {
        self.mem
    }

    /// The address `bytes` further on.
    #[must_use]
    pub fn at(self, bytes: i32) -> Ptr {
        Ptr { offset: self.offset.wrapping_add(bytes), ..self }
    }
}

/// What a pointer points to, which decides how freely accesses may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mem {
    /// The program's context: never changes while the program runs and is
    /// readable from the first instruction on, so its loads may be moved.
    Ctx,
    /// The frozen `.rodata` map: constant and never null, so its loads may be
    /// moved like the context's.
    Rodata,
    /// Stack, map value, ring-buffer record: writable, and readable only after
    /// the null check that guards it, so its loads stay where they are.
    Bpf,
    /// A BTF-typed kernel pointer: a faulting load yields zero, but the type
    /// may be "or null" until checked, so its loads stay where they are, too.
    Btf,
}

/// The size of a memory access or of a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Width {
    W8,
    W16,
    W32,
    W64,
}

impl Width {
    /// The width of `bytes` bytes, if the machine has it.
    pub fn from_bytes(bytes: u32) -> Option<Width> {
        match bytes {
            1 => Some(Width::W8),
            2 => Some(Width::W16),
            4 => Some(Width::W32),
            8 => Some(Width::W64),
            _ => None,
        }
    }

    /// Its size in bytes.
    pub fn bytes(self) -> u32 {
        self.bits() / 8
    }

    /// Its size in bits.
    pub fn bits(self) -> u32 {
        match self {
            Width::W8 => 8,
            Width::W16 => 16,
            Width::W32 => 32,
            Width::W64 => 64,
        }
    }

    pub(crate) fn ty(self) -> ir::Type {
        match self {
            Width::W8 => ir::types::I8,
            Width::W16 => ir::types::I16,
            Width::W32 => ir::types::I32,
            Width::W64 => ir::types::I64,
        }
    }
}

/// How a comparison of two values is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Cmp {
    Eq,
    Ne,
    Ult,
    Ule,
    Ugt,
    Uge,
    Slt,
    Sle,
    Sgt,
    Sge,
}

/// The operation of an atomic access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Atomic {
    Add,
    Sub,
    And,
    Or,
    Xor,
    /// Exchange; with a result only.
    Xchg,
}

/// A function of a [`Module`], by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FuncId(pub u32);

/// One function: a program, a subprogram or a callback.
#[derive(Clone, Debug)]
pub struct Func {
    /// Its symbol in the object file.
    pub name: String,
    /// Its code.
    pub ir: ir::Function,
    /// What each stack slot is for, by slot number; for messages only.
    pub slot_names: Vec<String>,
}

impl Func {
    /// The CLIF text, with external names spelt out (`u4:0`, not
    /// `userextname0`), which is what Cranelift's own reader accepts.
    fn text(&self) -> String {
        let mut text = self.ir.display().to_string();
        // Last first: `userextname1` is a prefix of `userextname12`.
        for (reference, name) in self.ir.params.user_named_funcs().iter().rev() {
            text = text.replace(&reference.to_string(), &name.to_string());
        }
        text
    }
}

impl fmt::Display for Func {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "; {}", self.name)?;
        for (slot, name) in self.slot_names.iter().enumerate() {
            writeln!(f, ";     ss{slot}: {name}")?;
        }
        f.write_str(&self.text())
    }
}

/// All functions of a script and the symbols they share.
#[derive(Clone, Debug, Default)]
pub struct Module {
    /// The functions, indexed by [`FuncId`].
    pub funcs: Vec<Func>,
    /// What the functions refer to.
    pub symbols: SymbolTable,
}

impl Module {
    /// An empty module.
    pub fn new() -> Module {
        Module::default()
    }

    /// Reserves a place for a function of `params` 64-bit parameters (at most
    /// five), so that others may call it before it has a body.
    pub fn declare(&mut self, name: &str, params: usize) -> FuncId {
        assert!(params <= 5, "{name}: BPF passes at most five arguments");
        let id = FuncId(u32::try_from(self.funcs.len()).expect("function count fits u32"));
        let signature = builder::signature(params);
        let ir = ir::Function::with_name_signature(ir::UserFuncName::user(0, id.0), signature);
        self.funcs.push(Func { name: name.to_owned(), ir, slot_names: Vec::new() });
        id
    }

    /// Gives a declared function its body. `body` may declare and define
    /// further functions through [`FuncBuilder::module`] while it runs.
    pub fn define<E>(&mut self, id: FuncId, body: impl FnOnce(&mut FuncBuilder<'_>) -> Result<(), E>) -> Result<(), E> {
        builder::define(self, id, body)
    }

    /// The function with this number.
    pub fn func(&self, id: FuncId) -> &Func {
        &self.funcs[id.0 as usize]
    }
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.symbols)?;
        for func in &self.funcs {
            write!(f, "\n{func}")?;
        }
        Ok(())
    }
}
