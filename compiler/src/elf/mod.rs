//! The BPF object file.
//!
//! In: finished BPF code of all functions, with the relocations, CO-RE uses and
//! source lines of its instructions; the maps and read-only data. Out: the bytes
//! of a relocatable ELF file that libbpf loads and that `llvm-objdump` and
//! `bpftool` read.
//! Invariants: the same input gives the same bytes; every relocation points at
//! an instruction that can carry it, and the operand that the relocation
//! replaces is written here and nowhere else.
//! Knows nothing of CLIF or of the script's language.

mod import;
mod info;
mod layout;
#[cfg(test)]
mod tests;
mod write;

use anyhow::Result;

use crate::btf::copy::CopiedType;
use crate::btf::core::{CoreId, CoreTable};
use crate::btf::encode::{Copied, KsymDef, MapDef, VariableDef};
use crate::ctypes::TypeStore;

pub use import::append;
pub use layout::{Layout, Place};

/// Bytes of one BPF instruction slot.
pub const SLOT: usize = 8;

/// Section of subprograms and callbacks. libbpf looks for them nowhere else.
pub const TEXT: &str = ".text";

/// What programs and the tracer both may change. With a name of its own behind
/// `.data` because libbpf calls the map of the plain section after the object.
pub const DATA: &str = btc_payload::manifest::DATA_SYMBOL;

/// Initialised variables of C files. As of [`DATA`], the name is the map's for libbpf.
pub const C_DATA: &str = ".data.c";

/// Variables of C files that are zero at first.
pub const C_ZERO: &str = ".bss.c";

/// Index into [`ObjectInput::functions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionId(pub u32);

/// Index into [`ObjectInput::maps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapIndex(pub u32);

/// Index into [`ObjectInput::externs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExternId(pub u32);

/// Everything that goes into the object.
#[derive(Clone)]
pub struct ObjectInput<'a> {
    /// Where the types of `core` are.
    pub types: &'a TypeStore,
    /// The CO-RE relocations that functions refer to by id.
    pub core: &'a CoreTable,
    /// Programs, subprograms and callbacks; within a section they keep this order.
    pub functions: Vec<Function>,
    /// Maps in the order of their definition.
    pub maps: Vec<MapDef>,
    /// Initial bytes of `.rodata`; no section when empty.
    pub rodata: Vec<u8>,
    /// Bytes of [`DATA`], all zero; no section when 0.
    pub data: u32,
    /// Names and types of parts of `.rodata`, for those who look at the object;
    /// in the order of offsets, without overlaps. May be empty.
    pub variables: Vec<VariableDef>,
    /// Licence of the programs, which decides what helpers they may call.
    pub license: String,
    /// Kernel symbols that libbpf resolves (kfuncs and `__ksym` variables).
    pub externs: Vec<Extern>,
    /// What other compilers made: its maps are numbered behind those of `maps`, and each
    /// of its sections has its bytes in `sections`.
    pub copied: Copied,
    /// Content of the sections of `copied`.
    pub sections: Vec<Content>,
}

/// What is in a data section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Zeros, which take no room in the file.
    Zeros,
}

/// A function and its code.
#[derive(Clone, Debug)]
pub struct Function {
    /// Symbol; also the name the kernel shows for a program (cut to 15 bytes).
    pub name: String,
    /// What it is, and so which section it goes to.
    pub role: Role,
    /// Encoded instructions.
    pub code: Vec<u8>,
    /// Operands that are known only when the object is loaded, by slot.
    pub relocs: Vec<Reloc>,
    /// Operands that depend on the target's types, by slot. The instruction
    /// holds the value by the types compiled against.
    pub core: Vec<CoreSlot>,
    /// Where in the source instructions come from, by slot.
    pub lines: Vec<Line>,
    /// Operands that depend on the target's types, in the words of another compiler.
    pub copied: Vec<CopiedSlot>,
}

/// A CO-RE relocation as another compiler wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedSlot {
    /// Index of the instruction slot within its function.
    pub slot: u32,
    /// The type the access starts from.
    pub root: CopiedType,
    /// The access string.
    pub access: String,
    /// `enum bpf_core_relo_kind`.
    pub kind: u32,
}

/// What a function is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Attached to something. The section is the bare libbpf name of the program
    /// type, such as `tracepoint`: the targets are known only on the target.
    Program {
        /// Name of the ELF section.
        section: &'static str,
    },
    /// Takes numbers only, so the verifier checks it once by itself instead of at
    /// every call: what a loop calls a thousand times must not cost a thousand walks.
    Global {
        /// Number of parameters.
        params: u8,
    },
    /// Called by other functions, or given to a helper as a callback.
    Subprogram {
        /// Number of parameters.
        params: u8,
    },
}

/// A relocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reloc {
    /// Index of the instruction slot within its function.
    pub slot: u32,
    /// What the operand refers to.
    pub target: Target,
}

/// What a relocated operand refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// 64-bit load of a map.
    Map(MapIndex),
    /// 64-bit load of an address in `.rodata`.
    Rodata {
        /// Offset in bytes.
        offset: u32,
    },
    /// A byte of [`DATA`]; for `ld_imm64`.
    Data {
        /// Offset of the byte.
        offset: u32,
    },
    /// A byte of a section of [`ObjectInput::copied`]; for `ld_imm64`.
    Copied {
        /// Index of the section.
        section: u32,
        /// Offset of the byte.
        offset: u32,
    },
    /// Call of a subprogram.
    Call(FunctionId),
    /// 64-bit load of the address of a callback.
    Callback(FunctionId),
    /// Call of a kfunc, or 64-bit load of a kernel symbol.
    Extern(ExternId),
}

/// An instruction whose operand is a CO-RE relocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreSlot {
    /// Index of the instruction slot within its function.
    pub slot: u32,
    /// The relocation.
    pub relocation: CoreId,
}

/// Where an instruction, and those behind it up to the next line, come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Index of the instruction slot within its function.
    pub slot: u32,
    /// File as shown to the user.
    pub file: String,
    /// Text of the line.
    pub text: String,
    /// Line number, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

/// A symbol of the kernel.
#[derive(Clone, Debug)]
pub struct Extern {
    /// What it is.
    pub symbol: KsymDef,
    /// May be missing on the target: then a kfunc must not be called, an address is 0.
    pub weak: bool,
}

/// Writes the object.
pub fn write(input: &ObjectInput<'_>) -> Result<Vec<u8>> {
    write::check(input)?;
    let layout = Layout::new(input);
    let btf = info::encode(input, &layout)?;
    write::write(input, &layout, &btf)
}
