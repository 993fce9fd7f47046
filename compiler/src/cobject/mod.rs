//! Objects of BPF code that another compiler made: the C files that scripts import.
//!
//! In: a relocatable ELF object with BTF, such as `clang -target bpf -g -c` writes.
//! Out: its functions as the script calls them (`signature`), and, for the functions
//! that are called, everything that `elf::import` puts into the script's own object.
//! Invariants: what no call reaches is left out, and so cannot be wrong; nothing of
//! the object but its code, data and types gets into the tracer: no paths, no
//! versions, no debug information.
//!
//! We link ourselves because libbpf's linker would keep the functions global, which
//! the verifier then checks without knowing what their arguments are, would keep
//! everything that is not called, and would bring libbpf and libelf into the compiler.

mod calls;
mod ext;
mod read;
mod signature;
#[cfg(test)]
mod tests;

pub use calls::{LinkError, Linkage};
pub(crate) use calls::{Place, Resolved, resolve};
pub use signature::{CFunction, Functions, Twice, signatures};

use crate::btf::Btf;
use std::collections::BTreeMap;
use std::rc::Rc;

/// An object as read.
pub struct Unit {
    /// File that was imported, as shown to the user.
    pub name: String,
    pub(crate) btf: Rc<Btf>,
    /// Functions in the order of their code.
    pub(crate) functions: Vec<Function>,
    pub(crate) sections: Vec<Section>,
    pub(crate) maps: Vec<Map>,
    pub(crate) externs: Vec<Extern>,
    /// Global functions and data, by name: other units may refer to them.
    pub(crate) globals: BTreeMap<String, Global>,
    /// Programs, which are in sections of their own, with those sections: they cannot be called.
    pub(crate) programs: BTreeMap<String, String>,
}

/// A function.
pub(crate) struct Function {
    pub(crate) name: String,
    /// Not `static`.
    pub(crate) global: bool,
    pub(crate) weak: bool,
    /// Its `BTF_KIND_FUNC`.
    pub(crate) ty: Option<u32>,
    pub(crate) code: Vec<u8>,
    /// Operands that are known only when everything is placed, by slot.
    pub(crate) uses: Vec<(u32, Use)>,
    /// Slot, type, access string, kind.
    pub(crate) relocations: Vec<(u32, u32, String, u32)>,
    pub(crate) lines: Vec<Line>,
}

/// What an operand refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Call of the function with this index.
    Call(usize),
    /// Address of the function with this index.
    Callback(usize),
    /// A byte of a section.
    Data { section: usize, offset: u32 },
    /// A map.
    Map(usize),
    /// Something that another unit or the kernel has; the number is the operand's offset in it.
    Extern(usize, u32),
    /// This cannot be linked, and why.
    Wrong(String),
}

/// Where an instruction comes from.
pub(crate) struct Line {
    pub(crate) slot: u32,
    pub(crate) file: String,
    pub(crate) text: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// The kinds of data sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SectionKind {
    /// `.rodata` and its kin.
    ReadOnly,
    /// `.data`.
    Data,
    /// `.bss`.
    Zero,
}

/// A data section.
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) kind: SectionKind,
    /// Content; empty for `Zero`.
    pub(crate) bytes: Vec<u8>,
    pub(crate) size: u32,
    pub(crate) align: u32,
    pub(crate) variables: Vec<Variable>,
    /// Names of variables whose initial value is an address, which nobody fills in.
    pub(crate) addresses: Vec<String>,
}

/// A variable of a data section.
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) ty: u32,
    pub(crate) offset: u32,
    pub(crate) size: u32,
}

/// A map defined in `.maps`.
pub(crate) struct Map {
    pub(crate) name: String,
    pub(crate) ty: u32,
    pub(crate) size: u32,
    pub(crate) offset: u32,
    /// Its definition names other maps or programs.
    pub(crate) initialised: bool,
}

/// A symbol that is not defined here.
pub(crate) struct Extern {
    pub(crate) name: String,
    pub(crate) weak: bool,
    pub(crate) kind: ExternKind,
}

/// Where an undefined symbol is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExternKind {
    /// In other units.
    Unit,
    /// A kernel function of this prototype.
    KernelFunction(u32),
    /// A kernel variable of this type.
    KernelVariable(u32),
    /// `__kconfig`, of this type.
    Config(u32),
}

/// A global symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Global {
    Function(usize),
    Data { section: usize, offset: u32 },
    Map(usize),
}

impl Unit {
    /// Reads an object. `name` is the imported file as shown to the user.
    pub fn read(name: &str, bytes: &[u8]) -> Result<Unit, String> {
        read::read(name, bytes)
    }
}

/// Bytes of an instruction slot.
const SLOT: usize = crate::elf::SLOT;
/// `BPF_LD | BPF_IMM | BPF_DW`: the only instruction of two slots.
const LD_IMM64: u8 = 0x18;
/// `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;

/// The instructions of a function by slot; second halves of 64-bit loads are no instructions.
fn instructions(code: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut skip = false;
    (0..).zip(code.chunks_exact(SLOT)).filter(move |(_, insn)| {
        let half = std::mem::take(&mut skip);
        skip = !half && insn[0] == LD_IMM64;
        !half
    })
}

/// The 32-bit operand of an instruction.
fn operand(insn: &[u8]) -> i32 {
    i32::from_le_bytes([insn[4], insn[5], insn[6], insn[7]])
}
