//! CLIF to BPF code. Nothing here knows the script language.
//!
//! Stages, in order: `legalize` (CLIF to CLIF: expands what BPF lacks), `canon`
//! (merges recomputed values, which the verifier could not connect), `sink`
//! (moves loop counters' steps behind the last use of the counter), `isel`
//! (CLIF to machine code over virtual registers), `regalloc`, `frame` (stack
//! layout), `emit` (encoding, jumps). The result is position-independent: the
//! ELF writer places it and turns [`Reloc`]s into relocations.

mod canon;
#[cfg(test)]
mod check;
mod emit;
mod frame;
pub mod insn;
#[cfg(test)]
mod interp;
mod isel;
mod legalize;
mod order;
pub mod print;
mod raise;
mod regalloc;
mod saves;
mod sink;
#[cfg(test)]
mod tests;
mod value;
mod vcode;

use std::fmt;

use cranelift_codegen::ir::StackSlot;

use crate::clif::{Func, FuncId, Module, Symbol, SymbolId};
use crate::opt::InternalError;

pub use frame::STACK_LIMIT;
pub use insn::Insn;
pub use print::Listing;

/// The machine code of one function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Code {
    /// The instructions; a 64-bit load takes two.
    pub insns: Vec<Insn>,
    /// Which instructions refer to symbols, in order.
    pub relocs: Vec<Reloc>,
    /// Where code of another source location starts, in order. Unless empty it
    /// starts with the first instruction.
    pub lines: Vec<Line>,
    /// Bytes of stack in use.
    pub stack: u32,
}

impl Code {
    /// The instructions as they stand in the object file.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.insns.iter().flat_map(|insn| insn.to_bytes()).collect()
    }
}

/// A use of a symbol.
///
/// What the instruction holds already: `Core` and `Ctx` the local value, in the
/// place that is to be patched (the offset of an access, else the immediate);
/// `Rodata` and `Data` their offset in the immediate; a call of a `Subprog`, `Ksym` or `Imported` -1;
/// anything else 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reloc {
    /// Index of the instruction.
    pub insn: usize,
    /// What it refers to.
    pub symbol: SymbolId,
}

/// The start of code of a source location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Index of the first instruction.
    pub insn: usize,
    /// What `FuncBuilder::set_srcloc` was given.
    pub srcloc: u32,
}

/// A stack slot in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackUse {
    /// What the slot is for.
    pub name: String,
    /// Its size.
    pub bytes: u32,
}

/// Why a function cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A bug of the compiler.
    Internal(InternalError),
    /// More stack than the kernel grants.
    StackTooLarge {
        /// Name of the function.
        function: String,
        /// Bytes needed.
        bytes: u32,
        /// How many of them hold values that did not fit in registers.
        spilled: u32,
        /// The largest of the other uses, largest first.
        largest: Vec<StackUse>,
    },
    /// The functions that a program calls need more stack than it leaves.
    CallsTooDeep {
        /// Name of the program.
        function: String,
        /// Bytes of its frame and those below.
        bytes: u32,
    },
    /// A jump does not reach its target.
    TooLarge {
        /// Name of the function.
        function: String,
        /// Its length.
        insns: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Internal(error) => error.fmt(f),
            Error::StackTooLarge { function, bytes, spilled, largest } => {
                write!(
                    f,
                    "`{function}` needs {bytes} bytes of stack, BPF has {STACK_LIMIT}: \
                     {spilled} for intermediate values"
                )?;
                largest.iter().try_for_each(|use_| write!(f, ", {} for {}", use_.bytes, use_.name))
            }
            Error::CallsTooDeep { function, bytes } => {
                write!(f, "`{function}` and what it calls need {bytes} bytes of stack, BPF has {STACK_LIMIT}")
            }
            Error::TooLarge { function, insns } => {
                write!(f, "`{function}` is too large: {insns} instructions, with a jump over more than 32767")
            }
        }
    }
}

impl std::error::Error for Error {}

/// Compiles an optimised function of `module`.
pub fn compile(module: &Module, func: &Func) -> Result<Code, Error> {
    let internal = |stage, message| Error::Internal(InternalError { stage, function: func.name.clone(), message });
    let mut ir = func.ir.clone();
    legalize::legalize(&mut ir, &module.symbols).map_err(|m| internal("legalisation", m))?;
    canon::merge_clones(&mut ir);
    raise::raise_combinations(&mut ir);
    sink::sink_steps(&mut ir);
    sink::sink_single_uses(&mut ir);
    let draft = isel::select(&ir, &module.symbols).map_err(|m| internal("selection", m))?;
    let (code, output) = regalloc::allocate(draft).map_err(|m| internal("register allocation", m))?;
    let used = |slot: StackSlot| code.uses_slot(slot);
    let frame = frame::Frame::new(&ir, &func.slot_names, used, output.num_spillslots);
    let frame = frame.map_err(|error| error.in_function(&func.name))?;
    emit::emit(&code, &output, &frame, &module.symbols).map_err(|error| error.in_function(&func.name))
}

/// Checks that the deepest chain of calls of each function fits the stack. `codes` has an
/// entry for each function of the module.
pub fn check_calls(module: &Module, codes: &[Code]) -> Result<(), Error> {
    for (index, func) in module.funcs.iter().enumerate() {
        let bytes = stack_depth(module, codes, FuncId(index as u32));
        if bytes > STACK_LIMIT {
            return Err(Error::CallsTooDeep { function: func.name.clone(), bytes });
        }
    }
    Ok(())
}

/// The stack of the deepest chain of calls that starts at `func`, which may be at
/// most [`STACK_LIMIT`]. `codes` has an entry for each function of the module.
///
/// The kernel rounds every frame up to 32 bytes, at least one such unit
/// (`check_max_stack_depth` in `kernel/bpf/verifier.c`); it refuses recursion.
fn stack_depth(module: &Module, codes: &[Code], func: FuncId) -> u32 {
    depth_below(module, codes, func, codes.len())
}

fn depth_below(module: &Module, codes: &[Code], func: FuncId, levels: usize) -> u32 {
    let code = &codes[func.0 as usize];
    let callees = code.relocs.iter().filter_map(|reloc| match module.symbols.get(reloc.symbol) {
        Some(Symbol::Subprog(callee)) => Some(callee),
        _ => None,
    });
    let below = callees.map(|callee| match levels {
        0 => 0,
        _ => depth_below(module, codes, callee, levels - 1),
    });
    code.stack.max(1).next_multiple_of(32) + below.max().unwrap_or(0)
}

impl Error {
    /// Names the function in an error from a stage that does not know it.
    fn in_function(mut self, name: &str) -> Error {
        if let Error::StackTooLarge { function, .. } | Error::TooLarge { function, .. } = &mut self {
            name.clone_into(function);
        }
        self
    }
}
