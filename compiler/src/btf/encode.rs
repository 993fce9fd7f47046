//! Writes the `.BTF` section of the object.
//!
//! In: [`ObjectBtfInput`]: maps, functions, data sections, kernel symbols, and the
//! CO-RE relocations with the store their types are in.
//! Out: the bytes of `.BTF` and `.BTF.ext`, and where `.maps` variables lie.
//! Invariants: kernel structs are cut down to the members that relocations name,
//! at their offsets in the BTF compiled against; a pointer member points to
//! `void`, so types never form a cycle. Strings are stored once. Same input,
//! same bytes.

use std::collections::BTreeMap;
use std::rc::Rc;

use anyhow::{Context, Result};

use super::copy::{CopiedType, Copier, WHOLE};
use super::core::{CoreId, CoreKind, CoreTable};
use super::ext::{self, Ext};
use super::local::LocalTypes;
use super::raw::Btf;
use super::write::{Linkage, MemberRecord, Writer};
use crate::ctypes::{CTypeId, TypeStore, integer_of_size};

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
    /// What other compilers made.
    pub copied: &'a Copied,
}

/// Types and definitions that other compilers wrote.
#[derive(Clone, Default)]
pub struct Copied {
    /// The BTF that [`CopiedType`]s are in.
    pub blobs: Vec<Rc<Btf>>,
    /// Maps, placed in `.maps` behind those of [`ObjectBtfInput::maps`].
    pub maps: Vec<CopiedVariable>,
    /// Data sections with their variables.
    pub sections: Vec<CopiedSection>,
}

/// A variable of another compiler.
#[derive(Clone, Debug)]
pub struct CopiedVariable {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: CopiedType,
    /// Offset in its section; that of a map is chosen by the writer.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
}

/// A data section of other compilers.
#[derive(Clone, Debug)]
pub struct CopiedSection {
    /// Its name in the object.
    pub name: String,
    /// Size in bytes.
    pub size: u32,
    /// Variables in the order of offsets.
    pub variables: Vec<CopiedVariable>,
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
    /// Instructions that another compiler wants relocated.
    pub copied: Vec<CopiedUse>,
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
    /// One that takes numbers only: global, so that it is checked once by itself.
    Global {
        /// Number of parameters.
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

/// An instruction to be relocated, as another compiler wrote it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedUse {
    /// Offset of the instruction in the section, in bytes.
    pub offset: u32,
    /// The type the access starts from.
    pub root: CopiedType,
    /// The access string.
    pub access: String,
    /// `enum bpf_core_relo_kind`.
    pub kind: u32,
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
    /// A kfunc, of this prototype.
    CopiedFunction(CopiedType),
    /// A variable of this type.
    CopiedVariable(CopiedType),
    /// A value that libbpf knows about the running kernel (`.kconfig`), of this type.
    Config(CopiedType),
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

/// Writes the object's BTF.
pub fn build(input: &ObjectBtfInput<'_>) -> Result<ObjectBtf> {
    let mut encoder = Encoder {
        input,
        writer: Writer::new(),
        local: LocalTypes::new(input.types, input.core),
        ext: Ext::new(),
        out: ObjectBtf::default(),
        copier: Copier::new(&input.copied.blobs),
    };
    encoder.copy();
    encoder.maps();
    for section in input.sections {
        encoder.data_section(section);
    }
    encoder.copied_sections();
    encoder.ksyms();
    for function in input.functions {
        encoder.function(function);
    }
    let Encoder { writer, ext, mut out, .. } = encoder;
    out.btf = writer.finish();
    out.ext = ext.finish();
    verify(&out.btf)?;
    Ok(out)
}

/// Reads what was written with a reader that shares no code with the writer.
/// The object's BTF is small, so this costs microseconds.
fn verify(bytes: &[u8]) -> Result<()> {
    btf_rs::Btf::from_bytes(bytes).map(drop).context("internal error: encode: the object's BTF cannot be read back")
}

struct Encoder<'a> {
    input: &'a ObjectBtfInput<'a>,
    writer: Writer,
    local: LocalTypes<'a>,
    ext: Ext,
    out: ObjectBtf,
    copier: Copier<'a>,
}

impl Encoder<'_> {
    /// Writes what is copied from other compilers.
    fn copy(&mut self) {
        let input = self.input;
        let copier = &mut self.copier;
        input.copied.maps.iter().for_each(|map| copier.need_map(map.ty));
        let variables = input.copied.sections.iter().flat_map(|s| &s.variables);
        variables.for_each(|v| copier.need(v.ty, WHOLE));
        for ksym in input.ksyms {
            match ksym.kind {
                KsymKind::CopiedFunction(ty) | KsymKind::CopiedVariable(ty) | KsymKind::Config(ty) => {
                    copier.need(ty, WHOLE);
                }
                KsymKind::Address | KsymKind::Function(_) => {}
            }
        }
        let accesses = input.functions.iter().flat_map(|f| &f.copied);
        accesses.for_each(|used| copier.need_access(used.root, &used.access, used.kind));
        copier.write(&mut self.writer);
    }

    /// The type of a key, value or variable; `None` where there is none.
    fn part(&mut self, part: MapPart) -> Option<u32> {
        match part {
            MapPart::Absent | MapPart::Size(_) | MapPart::Bytes(0) => None,
            MapPart::Int { size, signed } => {
                let int = integer_of_size(size, signed)?;
                Some(self.writer.int(&int.name, size, signed, false))
            }
            MapPart::Bytes(size) => {
                let byte = self.writer.int("unsigned char", 1, false, false);
                Some(self.writer.array(byte, size))
            }
        }
    }

    /// Maps in the form libbpf reads: a variable of an anonymous struct, each
    /// member a pointer, numbers as lengths of arrays pointed to.
    fn maps(&mut self) {
        let mut variables = Vec::new();
        let mut at = 0;
        for map in self.input.maps {
            let (id, size) = self.map(map);
            variables.push((id, at, size));
            self.out.maps.push((at, size));
            at += size;
        }
        for map in &self.input.copied.maps {
            let id = self.writer.variable(&map.name, self.copier.id(map.ty), Linkage::Global);
            variables.push((id, at, map.size));
            self.out.maps.push((at, map.size));
            at += map.size.next_multiple_of(8);
        }
        if !variables.is_empty() {
            self.writer.section(".maps", at, &variables);
        }
    }

    fn map(&mut self, map: &MapDef) -> (u32, u32) {
        let mut members: Vec<(&str, u32)> = vec![("type", self.number(map.map_type))];
        for (name, value) in [("max_entries", map.max_entries), ("map_flags", map.flags)] {
            if value != 0 {
                members.push((name, self.number(value)));
            }
        }
        let parts = [("key", "key_size", map.key), ("value", "value_size", map.value)];
        for (typed, sized, part) in parts {
            if let MapPart::Size(size) = part {
                members.push((sized, self.number(size)));
            } else if let Some(ty) = self.part(part) {
                members.push((typed, self.writer.pointer(ty)));
            }
        }
        let records: Vec<_> = members
            .iter()
            .enumerate()
            .map(|(i, &(name, ty))| MemberRecord { name, ty, bit_offset: 64 * i as u32, bit_width: 0 })
            .collect();
        let size = 8 * records.len() as u32;
        let ty = self.writer.composite("", false, size, &records);
        let id = self.writer.variable(&map.name, ty, Linkage::Global);
        (id, size)
    }

    /// `int (*)[value]`.
    fn number(&mut self, value: u32) -> u32 {
        let int = self.writer.int("int", 4, true, false);
        let array = self.writer.array(int, value);
        self.writer.pointer(array)
    }

    fn data_section(&mut self, section: &SectionDef) {
        let mut variables = Vec::new();
        for variable in &section.variables {
            let Some(ty) = self.part(variable.ty) else {
                continue;
            };
            let id = self.writer.variable(&variable.name, ty, Linkage::Global);
            variables.push((id, variable.offset, variable.ty.size()));
        }
        if !variables.is_empty() {
            self.writer.section(&section.name, section.size, &variables);
        }
    }

    fn copied_sections(&mut self) {
        for section in &self.input.copied.sections {
            let mut variables = Vec::new();
            for v in &section.variables {
                // Static, so that libbpf looks for no symbols (`btf_fixup_datasec`).
                let id = self.writer.variable(&v.name, self.copier.id(v.ty), Linkage::Static);
                variables.push((id, v.offset, v.size));
            }
            if !variables.is_empty() {
                self.writer.section(&section.name, section.size, &variables);
            }
        }
    }

    /// Kernel symbols have no place in the object: libbpf assigns the offsets.
    fn ksyms(&mut self) {
        let (mut symbols, mut settings) = (Vec::new(), Vec::new());
        for ksym in self.input.ksyms {
            let id = self.ksym(ksym);
            let entries = if matches!(ksym.kind, KsymKind::Config(_)) { &mut settings } else { &mut symbols };
            entries.push((id, 0, 0));
        }
        for (name, entries) in [(".ksyms", symbols), (".kconfig", settings)] {
            if !entries.is_empty() {
                self.writer.section(name, 0, &entries);
            }
        }
    }

    fn ksym(&mut self, ksym: &KsymDef) -> u32 {
        let name = &ksym.name;
        match ksym.kind {
            KsymKind::CopiedFunction(ty) => self.writer.function(name, self.copier.id(ty), Linkage::Extern),
            KsymKind::CopiedVariable(ty) | KsymKind::Config(ty) => {
                self.writer.variable(name, self.copier.id(ty), Linkage::Extern)
            }
            KsymKind::Function(ty) => match self.input.types.signature(ty) {
                Some(signature) => {
                    let ty = self.local.prototype(&mut self.writer, &signature);
                    self.writer.function(name, ty, Linkage::Extern)
                }
                None => self.address(name),
            },
            KsymKind::Address => self.address(name),
        }
    }

    /// `extern const void name`.
    fn address(&mut self, name: &str) -> u32 {
        let ty = self.writer.constant(0);
        self.writer.variable(name, ty, Linkage::Extern)
    }

    fn function(&mut self, function: &FunctionDef) {
        let section = self.writer.strings.add(&function.section);
        let (prototype, linkage) = self.prototype(function.kind);
        let id = self.writer.function(&function.name, prototype, linkage);
        self.ext.functions.add(section, [function.offset, id]);
        self.lines(section, function);
        for relocation in &function.relocations {
            self.relocation(section, relocation);
        }
        for used in &function.copied {
            let access = self.copier.access(used.root, &used.access, used.kind);
            let access = self.writer.strings.add(&access);
            self.ext.relocations.add(section, [used.offset, self.copier.id(used.root), access, used.kind]);
        }
    }

    fn prototype(&mut self, kind: FunctionKind) -> (u32, Linkage) {
        match kind {
            FunctionKind::Program => {
                let ret = self.writer.int("int", 4, true, false);
                let ctx = self.writer.pointer(0);
                let ty = self.writer.prototype(ret, &[("ctx", ctx)]);
                (ty, Linkage::Global)
            }
            FunctionKind::Static { params } | FunctionKind::Global { params } => {
                let long = self.writer.int("long", 8, true, false);
                let names: Vec<_> = (1..=params).map(|i| format!("a{i}")).collect();
                let params: Vec<_> = names.iter().map(|n| (n.as_str(), long)).collect();
                let linkage = match kind {
                    FunctionKind::Static { .. } => Linkage::Static,
                    _ => Linkage::Global,
                };
                (self.writer.prototype(long, &params), linkage)
            }
        }
    }

    fn lines(&mut self, section: u32, function: &FunctionDef) {
        let mut last = None;
        for (i, line) in function.lines.iter().enumerate() {
            // The kernel wants a line for every function's first instruction
            // and refuses two for one instruction (check_btf_line, Linux 6.12).
            let offset = if i == 0 { function.offset } else { line.offset };
            if last.is_some_and(|last| offset <= last) {
                continue;
            }
            last = Some(offset);
            let record = [
                offset,
                self.writer.strings.add(&line.file),
                self.writer.strings.add(&line.text),
                ext::line_and_column(line.line, line.column),
            ];
            self.ext.lines.add(section, record);
        }
    }

    fn relocation(&mut self, section: u32, site: &CoreUse) {
        let relocation = self.input.core.get(site.relocation);
        let root = self.local.root(&mut self.writer, relocation.root);
        if relocation.kind == CoreKind::TypeIdLocal {
            self.out.local_ids.insert(site.relocation, root);
        }
        let access = self.local.access(relocation);
        let record = [site.offset, root, self.writer.strings.add(&access), relocation.kind as u32];
        self.ext.relocations.add(section, record);
    }
}

impl MapPart {
    /// Size in bytes.
    pub fn size(self) -> u32 {
        match self {
            MapPart::Absent => 0,
            MapPart::Size(size) | MapPart::Bytes(size) | MapPart::Int { size, .. } => size,
        }
    }
}
