//! The BPF object file.
//!
//! In: finished BPF code of all functions, the maps, read-only data, and the
//! type information (`btf`). Out: the bytes of a relocatable ELF file that
//! libbpf loads and that `llvm-objdump` and `bpftool` read.
//! Invariants: the same input gives the same bytes; every relocation points at
//! an instruction that can carry it, and the operand that the relocation
//! replaces is written here and nowhere else.
//! Knows nothing of CLIF or of the script's language.

mod layout;
#[cfg(test)]
mod tests;
mod write;

pub use layout::{Layout, Place};
pub use write::write;

/// Bytes of one BPF instruction slot.
pub const SLOT: usize = 8;

/// Section of subprograms and callbacks. libbpf looks for them nowhere else.
pub const TEXT: &str = ".text";

/// Index into [`ObjectInput::functions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionId(pub u32);

/// Index into [`ObjectInput::maps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapIndex(pub u32);

/// Index into [`ObjectInput::externs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExternId(pub u32);

/// Everything that goes into the object except type information.
#[derive(Clone, Debug, Default)]
pub struct ObjectInput {
    /// Programs, subprograms and callbacks; within a section they keep this order.
    pub functions: Vec<Function>,
    /// Maps in the order of their definition.
    pub maps: Vec<Map>,
    /// Initial bytes of `.rodata`; no section when empty.
    pub rodata: Vec<u8>,
    /// Licence of the programs, which decides what helpers they may call.
    pub license: String,
    /// Kernel symbols that libbpf resolves (kfuncs and `__ksym` variables).
    pub externs: Vec<Extern>,
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
    /// Operands that are known only when the object is loaded.
    pub relocs: Vec<Reloc>,
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
    /// Called by other functions, or given to a helper as a callback.
    Subprogram,
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
    /// Call of a subprogram.
    Call(FunctionId),
    /// 64-bit load of the address of a callback.
    Callback(FunctionId),
    /// Call of a kfunc, or 64-bit load of a kernel symbol.
    Extern(ExternId),
}

/// A map, as its creation needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Symbol; the kernel shows its first 15 bytes.
    pub symbol: String,
    /// `enum bpf_map_type`.
    pub map_type: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Number of entries; bytes for a ring buffer.
    pub max_entries: u32,
    /// `BPF_F_*` of map creation.
    pub flags: u32,
}

/// A symbol of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extern {
    /// Name.
    pub name: String,
    /// May be missing on the target: then a kfunc must not be called, an address is 0.
    pub weak: bool,
}
