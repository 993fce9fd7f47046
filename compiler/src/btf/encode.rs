//! Writes the `.BTF` section of the object.
//!
//! In: [`ObjectBtfInput`]: maps, functions, data sections, kernel symbols, and the
//! CO-RE relocations with the store their types are in.
//! Out: the bytes of `.BTF` and `.BTF.ext`, and where `.maps` variables lie.
//! Invariants: kernel structs are cut down to the members that relocations name,
//! at their offsets in the BTF compiled against; a pointer member points to
//! `void`, so types never form a cycle. Strings are stored once. Same input,
//! same bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::btf::core::{CoreId, CoreTable};
use crate::ctypes::{CTypeId, TypeStore};

/// All that the object's BTF describes.
pub struct ObjectBtfInput<'a> {
    /// Where the types of `core` are.
    pub types: &'a TypeStore,
    /// The relocations that functions refer to by id.
    pub core: &'a CoreTable,
    /// Maps, in the order of their symbols in `.maps`.
    pub maps: &'a [MapDef],
    /// Functions, grouped by section, in the order of their code.
    pub functions: &'a [FunctionDef],
    /// `.rodata`, `.bss` and `.data` sections.
    pub sections: &'a [SectionDef],
    /// Symbols of the kernel (`.ksyms`).
    pub ksyms: &'a [KsymDef],
}

/// A map for libbpf to create.
#[derive(Clone, Debug)]
pub struct MapDef {
    /// Name of the variable and of the map.
    pub name: String,
    /// `BPF_MAP_TYPE_*`.
    pub map_type: u32,
    /// Key.
    pub key: MapPart,
    /// Value.
    pub value: MapPart,
    /// Maximum number of entries; 0 leaves it out.
    pub max_entries: u32,
    /// `BPF_F_*` flags; 0 leaves them out.
    pub flags: u32,
}

/// What a map's key or value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapPart {
    /// The map type has none (ring buffer).
    Absent,
    /// Only a size: for map types that refuse BTF (stack traces, perf arrays).
    Size(u32),
    /// An integer of 1, 2, 4 or 8 bytes.
    Int {
        /// Size in bytes.
        size: u32,
        /// Signed?
        signed: bool,
    },
    /// Bytes, for everything else.
    Bytes(u32),
}

/// A function of the object.
#[derive(Clone, Debug)]
pub struct FunctionDef {
    /// Its name.
    pub name: String,
    /// Section its code is in.
    pub section: String,
    /// Offset of its first instruction in the section, in bytes.
    pub offset: u32,
    /// Who may call it.
    pub kind: FunctionKind,
    /// Source lines, in the order of offsets. The kernel wants the first
    /// instruction of every function to have one; if it is missing here, the
    /// first line is extended to it.
    pub lines: Vec<LineDef>,
    /// Relocated instructions, in the order of offsets.
    pub relocations: Vec<CoreUse>,
}

/// The forms of functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionKind {
    /// A program: `int name(void *ctx)`, global.
    Program,
    /// A function of ours, called or passed to a helper: static, so that the
    /// verifier checks it in the context of its caller.
    Static {
        /// Number of parameters, all 64-bit integers as far as BTF says.
        params: u8,
    },
}

/// The source line of an instruction.
#[derive(Clone, Debug)]
pub struct LineDef {
    /// Offset of the instruction in the section, in bytes.
    pub offset: u32,
    /// File name as shown to the user.
    pub file: String,
    /// Text of the line.
    pub text: String,
    /// Line number, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

/// An instruction to be relocated.
#[derive(Clone, Copy, Debug)]
pub struct CoreUse {
    /// Offset of the instruction in the section, in bytes.
    pub offset: u32,
    /// The relocation.
    pub relocation: CoreId,
}

/// A data section with its variables.
#[derive(Clone, Debug)]
pub struct SectionDef {
    /// `.rodata` and the like.
    pub name: String,
    /// Size in bytes.
    pub size: u32,
    /// Variables, in the order of offsets.
    pub variables: Vec<VariableDef>,
}

/// A variable in a data section.
#[derive(Clone, Debug)]
pub struct VariableDef {
    /// Its name.
    pub name: String,
    /// Offset in the section.
    pub offset: u32,
    /// An integer or bytes.
    pub ty: MapPart,
}

/// A symbol of the kernel that libbpf resolves.
#[derive(Clone, Debug)]
pub struct KsymDef {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: KsymKind,
}

/// The forms of kernel symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KsymKind {
    /// Only the address is wanted: `extern const void name`.
    Address,
    /// A kfunc to call, of this function type.
    Function(CTypeId),
}

/// The sections and what the ELF writer must know of them.
#[derive(Clone, Debug, Default)]
pub struct ObjectBtf {
    /// `.BTF`.
    pub btf: Vec<u8>,
    /// `.BTF.ext`.
    pub ext: Vec<u8>,
    /// Offset and size of each map's variable in `.maps`, in the order given.
    pub maps: Vec<(u32, u32)>,
    /// The id of `TypeIdLocal` relocations' types, which the instruction must hold.
    pub local_ids: BTreeMap<CoreId, u32>,
}
