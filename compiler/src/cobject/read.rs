//! An ELF object of BPF code to a [`Unit`].
//!
//! In: the bytes. Out: functions with what their operands refer to, data, maps,
//! symbols that are not defined. Invariants: all references are resolved to indices
//! or kept as [`Use::Wrong`], which matters only if the function is called; a damaged
//! object is an error, never a panic.

use super::{
    CALL, Extern, ExternKind, Function, Global, LD_IMM64, Line, Map, SLOT, Section, SectionKind, Unit, Use, Variable,
    ext, instructions, operand,
};
use crate::btf::{Btf, Kind};
use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionIndex, SymbolIndex, SymbolKind,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// The section of functions that are no programs.
const TEXT: &str = ".text";
/// The section of maps.
const MAPS: &str = ".maps";
/// `EM_BPF` objects of this byte order only.
const ARCHITECTURE: object::Architecture = object::Architecture::Bpf;
/// In the source register of a call: the callee is BPF code.
const PSEUDO_CALL: u8 = 1;

type File<'d> = object::File<'d, &'d [u8]>;

/// Reads an object.
pub(super) fn read(name: &str, bytes: &[u8]) -> Result<Unit, String> {
    let file = File::parse(bytes).map_err(|e| format!("it is no ELF object: {e}"))?;
    if file.architecture() != ARCHITECTURE || !file.is_little_endian() {
        return Err("it is no object of little-endian BPF code".into());
    }
    let section = |name| file.section_by_name(name).and_then(|s| s.data().ok());
    let Some(types) = section(".BTF") else {
        return Err("it has no BTF: compile it with -g".into());
    };
    let btf = Rc::new(Btf::new(types.to_vec(), None).map_err(|e| format!("its BTF cannot be read: {e:#}"))?);
    let mut reader = Reader::new(&file, name, btf);
    reader.sections();
    reader.functions()?;
    reader.symbols();
    reader.uses();
    reader.lines_and_relocations(section(".BTF.ext").unwrap_or(&[]));
    Ok(reader.unit)
}

struct Reader<'d> {
    file: &'d File<'d>,
    unit: Unit,
    text: Option<SectionIndex>,
    maps: Option<SectionIndex>,
    /// Data sections of the unit by their index in the file.
    places: HashMap<SectionIndex, usize>,
    /// Start of each function.
    starts: BTreeMap<u64, usize>,
    /// Undefined symbols by their index in the file.
    undefined: HashMap<SymbolIndex, usize>,
}

impl<'d> Reader<'d> {
    fn new(file: &'d File<'d>, name: &str, btf: Rc<Btf>) -> Self {
        let unit = Unit {
            name: name.to_string(),
            btf,
            functions: Vec::new(),
            sections: Vec::new(),
            maps: Vec::new(),
            externs: Vec::new(),
            globals: BTreeMap::new(),
            programs: BTreeMap::new(),
        };
        let index = |name| file.section_by_name(name).map(|s| s.index());
        Reader {
            file,
            unit,
            text: index(TEXT),
            maps: index(MAPS),
            places: HashMap::new(),
            starts: BTreeMap::new(),
            undefined: HashMap::new(),
        }
    }

    /// Data sections with their variables, and maps.
    fn sections(&mut self) {
        for section in self.file.sections() {
            let name = section.name().unwrap_or("");
            let Some(kind) = kind_of(name) else { continue };
            let bytes = if kind == SectionKind::Zero { &[] } else { section.data().unwrap_or(&[]) };
            let variables = self.variables(name, section.index());
            let addresses = self.initialised(&section, &variables);
            self.places.insert(section.index(), self.unit.sections.len());
            self.unit.sections.push(Section {
                name: name.to_string(),
                kind,
                bytes: bytes.to_vec(),
                size: u32::try_from(section.size()).unwrap_or(u32::MAX),
                align: u32::try_from(section.align()).unwrap_or(1).max(1),
                variables,
                addresses,
            });
        }
        let Some(maps) = self.maps else { return };
        let variables = self.variables(MAPS, maps);
        let Ok(section) = self.file.section_by_index(maps) else { return };
        let initialised: BTreeSet<String> = self.initialised(&section, &variables).into_iter().collect();
        self.unit.maps = variables
            .into_iter()
            .map(|v| Map {
                initialised: initialised.contains(&v.name),
                name: v.name,
                ty: v.ty,
                size: v.size,
                offset: v.offset,
            })
            .collect();
    }

    /// Variables of a section in the order of offsets. BTF has their types; where they
    /// lie, symbols tell: compilers leave that to whoever links (libbpf's `btf_fixup_datasec`).
    fn variables(&self, name: &str, index: SectionIndex) -> Vec<Variable> {
        let btf = &self.unit.btf;
        let own = |id: &u32| btf.record(*id).kind == Kind::Datasec;
        let Some(id) = btf.ids_by_name(name, Kind::Datasec.bit()).find(own) else { return Vec::new() };
        let record = btf.record(id);
        let mut out: Vec<Variable> = (0..record.vlen)
            .map(|i| {
                let (id, offset, size) = (record.word(3 * i), record.word(3 * i + 1), record.word(3 * i + 2));
                let variable = btf.record(id);
                let name = btf.string(variable.name).to_string();
                let is_it = |s: &object::Symbol<'_, '_, &[u8]>| {
                    s.section_index() == Some(index) && s.name() == Ok(name.as_str()) && s.kind() != SymbolKind::Section
                };
                let symbol = self.file.symbols().find(is_it);
                let offset = symbol.map_or(offset, |s| s.address() as u32);
                Variable { name, ty: variable.size_or_type, offset, size }
            })
            .collect();
        out.sort_by_key(|v| v.offset);
        out
    }

    /// Variables of a section whose initial values are relocated.
    fn initialised<'f>(&self, section: &object::Section<'d, 'f, &'d [u8]>, variables: &[Variable]) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        for (at, _) in section.relocations() {
            let inside = |v: &&Variable| (u64::from(v.offset)..u64::from(v.offset) + u64::from(v.size)).contains(&at);
            let name = variables.iter().find(inside).map_or_else(|| format!("data at {at}"), |v| v.name.clone());
            if !out.contains(&name) {
                out.push(name);
            }
        }
        out
    }

    /// Functions in the order of their code.
    fn functions(&mut self) -> Result<(), String> {
        let mut symbols: Vec<_> =
            self.file.symbols().filter(|s| s.kind() == SymbolKind::Text && s.size() > 0).collect();
        symbols.sort_by_key(|s| (s.address(), !s.is_global()));
        let code = match self.text {
            Some(index) => self.file.section_by_index(index).and_then(|s| s.data()).map_err(|e| e.to_string())?,
            None => &[],
        };
        for symbol in symbols {
            let name = symbol.name().unwrap_or("").to_string();
            if symbol.section_index() != self.text {
                let section = symbol.section_index().and_then(|i| self.file.section_by_index(i).ok());
                let section = section.and_then(|s| s.name().ok().map(str::to_string)).unwrap_or_default();
                self.unit.programs.insert(name, section);
                continue;
            }
            let (start, size) = (symbol.address() as usize, symbol.size() as usize);
            let body = start.checked_add(size).and_then(|end| code.get(start..end));
            let Some(body) = body.filter(|b| b.len() % SLOT == 0) else {
                return Err(format!("function `{name}` ends behind the code"));
            };
            let ty = self.unit.btf.ids_by_name(&name, Kind::Func.bit()).next();
            self.starts.insert(start as u64, self.unit.functions.len());
            self.unit.functions.push(Function {
                name,
                global: symbol.is_global(),
                weak: symbol.is_weak(),
                ty,
                code: body.to_vec(),
                uses: Vec::new(),
                relocations: Vec::new(),
                lines: Vec::new(),
            });
        }
        Ok(())
    }

    /// Global symbols, and those that are not defined here.
    fn symbols(&mut self) {
        for symbol in self.file.symbols() {
            let Ok(name) = symbol.name() else { continue };
            if name.is_empty() {
                continue;
            }
            if symbol.is_undefined() {
                self.undefined.insert(symbol.index(), self.unit.externs.len());
                let kind = self.extern_kind(name);
                self.unit.externs.push(Extern { name: name.to_string(), weak: symbol.is_weak(), kind });
            } else if symbol.is_global()
                && let Some(global) = self.defined(symbol.section_index(), symbol.address())
            {
                self.unit.globals.insert(name.to_string(), global);
            }
        }
    }

    /// What BTF says where an undefined symbol is looked for.
    fn extern_kind(&self, name: &str) -> ExternKind {
        let btf = &self.unit.btf;
        for section in [".ksyms", ".kconfig"] {
            let Some(id) = btf.ids_by_name(section, Kind::Datasec.bit()).next() else { continue };
            let record = btf.record(id);
            let members = (0..record.vlen).map(|i| btf.record(record.word(3 * i)));
            let Some(member) = members.into_iter().find(|m| btf.string(m.name) == name) else { continue };
            return match member.kind {
                _ if section == ".kconfig" => ExternKind::Config(member.size_or_type),
                Kind::Func => ExternKind::KernelFunction(member.size_or_type),
                _ => ExternKind::KernelVariable(member.size_or_type),
            };
        }
        ExternKind::Unit
    }

    /// What lies at a place of the file.
    fn defined(&self, section: Option<SectionIndex>, address: u64) -> Option<Global> {
        let index = section?;
        if section == self.text {
            return self.starts.get(&address).map(|&f| Global::Function(f));
        }
        if section == self.maps {
            let map = self.unit.maps.iter().position(|m| u64::from(m.offset) == address);
            return map.map(Global::Map);
        }
        let offset = u32::try_from(address).ok()?;
        self.places.get(&index).map(|&section| Global::Data { section, offset })
    }

    /// Resolves all operands.
    fn uses(&mut self) {
        let mut all: BTreeMap<(usize, u32), Use> = BTreeMap::new();
        let text = self.text.and_then(|index| self.file.section_by_index(index).ok());
        for (at, relocation) in text.iter().flat_map(|s| s.relocations()) {
            let Some((&start, &function)) = self.starts.range(..=at).next_back() else { continue };
            let slot = ((at - start) / SLOT as u64) as u32;
            let Some(insn) = self.unit.functions[function].code.get(slot as usize * SLOT..) else { continue };
            let addend = i64::from(operand(insn)) + relocation.addend();
            let used = self.target(insn[0], &relocation.target(), addend);
            all.insert((function, slot), used);
        }
        // A call within the section needs no relocation as long as nothing moves.
        for (&start, &function) in &self.starts {
            for (slot, insn) in instructions(&self.unit.functions[function].code) {
                if insn[0] != CALL || insn[1] >> 4 != PSEUDO_CALL || all.contains_key(&(function, slot)) {
                    continue;
                }
                let to = start as i64 + (i64::from(slot) + i64::from(operand(insn)) + 1) * SLOT as i64;
                let used = self.starts.get(&(to as u64)).map(|&f| Use::Call(f));
                let used = used.unwrap_or_else(|| Use::Wrong("it calls into the middle of a function".into()));
                all.insert((function, slot), used);
            }
        }
        for ((function, slot), used) in all {
            self.unit.functions[function].uses.push((slot, used));
        }
    }

    /// What a relocated operand refers to. `addend` is what the instruction holds.
    fn target(&self, opcode: u8, target: &RelocationTarget, addend: i64) -> Use {
        let wrong = |why: &str| Use::Wrong(why.to_string());
        let RelocationTarget::Symbol(index) = *target else { return wrong("it has a relocation of an unknown kind") };
        let Ok(symbol) = self.file.symbol_by_index(index) else { return wrong("it refers to no symbol") };
        if let Some(&number) = self.undefined.get(&index) {
            return Use::Extern(number, if opcode == LD_IMM64 { addend as u32 } else { 0 });
        }
        // Calls count instructions, from the one behind the call.
        let distance = if opcode == CALL { (addend + 1) * SLOT as i64 } else { addend };
        let address = (symbol.address() as i64).wrapping_add(distance) as u64;
        let name = symbol.name().unwrap_or("?");
        match (self.defined(symbol.section_index(), address), opcode) {
            (Some(Global::Function(f)), CALL) => Use::Call(f),
            (Some(Global::Function(f)), LD_IMM64) => Use::Callback(f),
            (Some(Global::Map(map)), LD_IMM64) => Use::Map(map),
            (Some(Global::Data { section, offset }), LD_IMM64) => Use::Data { section, offset },
            _ if self.unit.programs.contains_key(name) => {
                Use::Wrong(format!("it refers to `{name}`, which is a program"))
            }
            _ => Use::Wrong(format!("it refers to `{name}` in a way that cannot be linked")),
        }
    }

    /// Distributes the records of `.BTF.ext` to the functions.
    fn lines_and_relocations(&mut self, bytes: &[u8]) {
        let btf = self.unit.btf.clone();
        for record in ext::lines(&btf, bytes, TEXT) {
            let Some((function, slot)) = self.place(record.offset) else { continue };
            let ext::LineRecord { file, text, line, column, .. } = record;
            self.unit.functions[function].lines.push(Line { slot, file, text, line, column });
        }
        for record in ext::relocations(&btf, bytes, TEXT) {
            let Some((function, slot)) = self.place(record.offset) else { continue };
            self.unit.functions[function].relocations.push((slot, record.root, record.access, record.kind));
        }
        for function in &mut self.unit.functions {
            function.lines.sort_by_key(|l| l.slot);
            function.relocations.sort_by_key(|r| r.0);
        }
    }

    /// The function and slot at an offset of the code.
    fn place(&self, offset: u32) -> Option<(usize, u32)> {
        let (&start, &function) = self.starts.range(..=u64::from(offset)).next_back()?;
        let slot = (u64::from(offset) - start) / SLOT as u64;
        let slots = self.unit.functions[function].code.len() / SLOT;
        (slot < slots as u64).then_some((function, slot as u32))
    }
}

/// The kind of a data section, by the names that libbpf goes by.
fn kind_of(name: &str) -> Option<SectionKind> {
    let is = |base: &str| name == base || name.strip_prefix(base).is_some_and(|rest| rest.starts_with('.'));
    if is(".rodata") {
        Some(SectionKind::ReadOnly)
    } else if is(".data") {
        Some(SectionKind::Data)
    } else if is(".bss") {
        Some(SectionKind::Zero)
    } else {
        None
    }
}
