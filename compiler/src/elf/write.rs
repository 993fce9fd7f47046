//! Writes the ELF file.
//!
//! In: an [`ObjectInput`], its [`Layout`] and its BTF. Out: bytes.
//!
//! What libbpf (1.7) insists on, and why the symbols look as they do: relocation
//! sections are REL; a program is a global function, a subprogram a local one
//! in `.text`; a call names the function's symbol with an operand of -1; the
//! address of a callback names the *section* with the offset in the operand,
//! because a local function symbol is refused there; a map is found by the
//! value of its symbol.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use object::elf::{R_BPF_64_32, R_BPF_64_64};
use object::write::{Object, Relocation, SectionId, Symbol, SymbolId, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
};

use super::{Content, Function, FunctionId, Layout, ObjectInput, Reloc, Role, SLOT, TEXT, Target};
use crate::btf::encode::ObjectBtf;

/// `BPF_LD | BPF_IMM | BPF_DW`: the only instruction of two slots.
const LD_IMM64: u8 = 0x18;
/// `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// `BPF_PSEUDO_CALL` in the source register: the callee is BPF code.
const PSEUDO_CALL: u8 = 1;

/// Writes the object of a checked input.
pub(super) fn write(input: &ObjectInput<'_>, layout: &Layout, btf: &ObjectBtf) -> Result<Vec<u8>> {
    let mut writer = Writer::new(input, layout, btf);
    writer.add_data();
    writer.add_functions();
    writer.add_relocations().context("internal error in the object writer")?;
    writer.object.write().context("internal error: the object cannot be written")
}

/// Refuses what would give an object that means something else.
pub(super) fn check(input: &ObjectInput<'_>) -> Result<()> {
    let names = input.functions.iter().map(|f| &f.name);
    let names = names.chain(input.maps.iter().map(|m| &m.name));
    let names = names.chain(input.copied.maps.iter().map(|m| &m.name));
    let names = names.chain(input.externs.iter().map(|e| &e.symbol.name));
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        ensure!(!name.is_empty() && !name.contains('\0'), "internal error: object symbol {name:?}");
        ensure!(seen.insert(name), "internal error: object symbol `{name}` is defined twice");
    }
    for f in &input.functions {
        ensure!(
            !f.code.is_empty() && f.code.len() % SLOT == 0,
            "internal error: function `{}` has {} bytes of code",
            f.name,
            f.code.len()
        );
        let slots = (f.code.len() / SLOT) as u32;
        let marks = f.core.iter().map(|c| c.slot).chain(f.lines.iter().map(|l| l.slot));
        let marks = marks.chain(f.copied.iter().map(|c| c.slot));
        for slot in marks {
            ensure!(slot < slots, "internal error: function `{}` has no instruction {slot}", f.name);
        }
    }
    ensure!(!input.license.contains('\0'), "internal error: the licence contains a NUL");
    Ok(())
}

/// The object under construction and the symbols that relocations name.
struct Writer<'a> {
    input: &'a ObjectInput<'a>,
    layout: &'a Layout,
    btf: &'a ObjectBtf,
    object: Object<'a>,
    /// Code sections by name.
    sections: BTreeMap<&'static str, SectionId>,
    rodata: Option<SectionId>,
    data: Option<SectionId>,
    copied: Vec<SectionId>,
    functions: Vec<SymbolId>,
    maps: Vec<SymbolId>,
    externs: Vec<SymbolId>,
}

impl<'a> Writer<'a> {
    /// An object with its code sections, in the order of the layout.
    fn new(input: &'a ObjectInput<'a>, layout: &'a Layout, btf: &'a ObjectBtf) -> Self {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
        let mut sections = BTreeMap::new();
        for &name in layout.sections() {
            let id = object.add_section(Vec::new(), name.into(), SectionKind::Text);
            sections.insert(name, id);
        }
        Writer {
            input,
            layout,
            btf,
            object,
            sections,
            rodata: None,
            data: None,
            copied: Vec::new(),
            functions: Vec::new(),
            maps: Vec::new(),
            externs: Vec::new(),
        }
    }

    /// Adds all sections that are not code, and the symbols in them.
    fn add_data(&mut self) {
        let license: Vec<u8> = self.input.license.bytes().chain([0]).collect();
        let size = license.len() as u64;
        let section = self.add_section("license", SectionKind::Data, license, 1);
        self.add_symbol("_license", SymbolKind::Data, SymbolScope::Dynamic, section, 0, size);

        if let Some(size) = self.btf.maps.iter().map(|(offset, size)| offset + size).max() {
            // The definitions are types only (`btf::encode`): what libbpf wants here is room.
            let section = self.add_section(".maps", SectionKind::Data, vec![0; size as usize], 8);
            let own = self.input.maps.iter().map(|m| &m.name);
            let names = own.chain(self.input.copied.maps.iter().map(|m| &m.name));
            for (name, &(offset, size)) in names.zip(&self.btf.maps) {
                let (offset, size) = (offset.into(), size.into());
                let id = self.add_symbol(name, SymbolKind::Data, SymbolScope::Dynamic, section, offset, size);
                self.maps.push(id);
            }
        }
        if !self.input.rodata.is_empty() {
            let data = self.input.rodata.as_slice();
            self.rodata = Some(self.add_section(".rodata", SectionKind::ReadOnlyData, data, 8));
        }
        if self.input.data > 0 {
            self.data = Some(self.add_section(super::DATA, SectionKind::Data, vec![0; self.input.data as usize], 8));
        }
        for (section, content) in self.input.copied.sections.iter().zip(&self.input.sections) {
            let id = match content {
                Content::Bytes(bytes) => self.add_section(&section.name, SectionKind::Data, bytes.as_slice(), 16),
                Content::Zeros => {
                    let name = section.name.as_bytes().to_vec();
                    let id = self.object.add_section(Vec::new(), name, SectionKind::UninitializedData);
                    self.object.append_section_bss(id, section.size.into(), 16);
                    id
                }
            };
            self.copied.push(id);
        }
        for (name, data) in [(".BTF", &self.btf.btf), (".BTF.ext", &self.btf.ext)] {
            if !data.is_empty() {
                self.add_section(name, SectionKind::Other, data.as_slice(), 4);
            }
        }
        for external in &self.input.externs {
            let id = self.object.add_symbol(Symbol {
                name: external.symbol.name.clone().into_bytes(),
                value: 0,
                size: 0,
                kind: SymbolKind::Unknown,
                scope: SymbolScope::Dynamic,
                weak: external.weak,
                section: SymbolSection::Undefined,
                flags: SymbolFlags::None,
            });
            self.externs.push(id);
        }
    }

    fn add_section(
        &mut self,
        name: &str,
        kind: SectionKind,
        data: impl Into<std::borrow::Cow<'a, [u8]>>,
        align: u64,
    ) -> SectionId {
        let id = self.object.add_section(Vec::new(), name.into(), kind);
        self.object.section_mut(id).set_data(data, align);
        id
    }

    fn add_symbol(
        &mut self,
        name: &str,
        kind: SymbolKind,
        scope: SymbolScope,
        section: SectionId,
        value: u64,
        size: u64,
    ) -> SymbolId {
        self.object.add_symbol(Symbol {
            name: name.into(),
            value,
            size,
            kind,
            scope,
            weak: false,
            section: SymbolSection::Section(section),
            flags: SymbolFlags::None,
        })
    }

    /// Adds the code with relocated operands filled in, and a symbol for each function.
    fn add_functions(&mut self) {
        for (i, f) in self.input.functions.iter().enumerate() {
            let place = self.layout.place(FunctionId(i as u32));
            let section = self.sections[place.section];
            let offset = self.object.append_section_data(section, &f.code, SLOT as u64);
            debug_assert_eq!(offset, u64::from(place.offset));
            self.write_local_ids(f, section, place.offset as usize);
            let scope = match f.role {
                // `Linkage` would mean a hidden symbol, which libbpf takes for a static function.
                Role::Program { .. } | Role::Global { .. } => SymbolScope::Dynamic,
                Role::Subprogram { .. } => SymbolScope::Compilation,
            };
            let id = self.add_symbol(&f.name, SymbolKind::Text, scope, section, offset, f.code.len() as u64);
            self.functions.push(id);
        }
    }

    /// Fills in what is known only now: ids of types in the object's own BTF.
    fn write_local_ids(&mut self, f: &Function, section: SectionId, start: usize) {
        for used in &f.core {
            let at = start + used.slot as usize * SLOT + 4;
            let code = self.object.section_mut(section).data_mut();
            if let (Some(id), Some(imm)) = (self.btf.local_ids.get(&used.relocation), code.get_mut(at..at + 4)) {
                imm.copy_from_slice(&id.to_le_bytes());
            }
        }
    }

    /// Adds all relocations and writes the operands they start from.
    fn add_relocations(&mut self) -> Result<()> {
        for (i, f) in self.input.functions.iter().enumerate() {
            let place = self.layout.place(FunctionId(i as u32));
            for r in &f.relocs {
                self.add_relocation(f, place.section, place.offset, r)
                    .with_context(|| format!("relocation at instruction {} of `{}`", r.slot, f.name))?;
            }
        }
        Ok(())
    }

    fn add_relocation(&mut self, f: &Function, section: &'static str, start: u32, reloc: &Reloc) -> Result<()> {
        let at = reloc.slot as usize * SLOT;
        let opcode = *f.code.get(at).context("no such instruction")?;
        let (symbol, operand) = self.resolve(opcode, reloc.target)?;
        let r_type = match opcode {
            LD_IMM64 => R_BPF_64_64,
            CALL => R_BPF_64_32,
            _ => bail!("opcode {opcode:#04x} cannot be relocated"),
        };
        let section = self.sections[section];
        let at = at + start as usize;
        let code = self.object.section_mut(section).data_mut();
        let insn = code.get_mut(at..at + SLOT).context("no such instruction")?;
        let source = if opcode == CALL { PSEUDO_CALL } else { 0 };
        insn[1] = insn[1] & 0x0f | source << 4;
        insn[4..].copy_from_slice(&operand.to_le_bytes());
        if opcode == LD_IMM64 {
            let high = code.get_mut(at + SLOT + 4..at + 2 * SLOT).context("half a 64-bit load")?;
            high.fill(0);
        }
        let flags = RelocationFlags::Elf { r_type };
        self.object.add_relocation(section, Relocation { offset: at as u64, symbol, addend: 0, flags })?;
        Ok(())
    }

    /// Symbol and operand for a target, if an instruction with this opcode may refer to it.
    fn resolve(&mut self, opcode: u8, target: Target) -> Result<(SymbolId, i32)> {
        let subprogram = |id: FunctionId| match self.input.functions.get(id.0 as usize) {
            Some(Function { role: Role::Subprogram { .. } | Role::Global { .. }, .. }) => Ok(()),
            Some(f) => bail!("`{}` is a program, not a subprogram", f.name),
            None => bail!("no function {}", id.0),
        };
        match target {
            Target::Map(id) if opcode == LD_IMM64 => {
                let symbol = self.maps.get(id.0 as usize).with_context(|| format!("no map {}", id.0))?;
                Ok((*symbol, 0))
            }
            Target::Rodata { offset } if opcode == LD_IMM64 => {
                ensure!((offset as usize) < self.input.rodata.len(), "no byte {offset} in .rodata");
                let section = self.rodata.context("no .rodata")?;
                Ok((self.object.section_symbol(section), i32::try_from(offset)?))
            }
            Target::Data { offset } if opcode == LD_IMM64 => {
                ensure!(offset < self.input.data, "no byte {offset} in {}", super::DATA);
                let section = self.data.context("no data section")?;
                Ok((self.object.section_symbol(section), i32::try_from(offset)?))
            }
            Target::Copied { section, offset } if opcode == LD_IMM64 => {
                let size = self.input.copied.sections.get(section as usize).map_or(0, |s| s.size);
                ensure!(offset <= size, "no byte {offset} in section {section} of another compiler");
                let section = *self.copied.get(section as usize).context("no such section")?;
                Ok((self.object.section_symbol(section), i32::try_from(offset)?))
            }
            Target::Call(id) if opcode == CALL => {
                subprogram(id)?;
                Ok((self.functions[id.0 as usize], -1))
            }
            Target::Callback(id) if opcode == LD_IMM64 => {
                subprogram(id)?;
                let offset = i32::try_from(self.layout.place(id).offset)?;
                Ok((self.object.section_symbol(self.sections[TEXT]), offset))
            }
            Target::Extern(id) => {
                let symbol = self.externs.get(id.0 as usize).with_context(|| format!("no extern {}", id.0))?;
                Ok((*symbol, if opcode == CALL { -1 } else { 0 }))
            }
            _ => bail!("{target:?} cannot be the operand of opcode {opcode:#04x}"),
        }
    }
}
