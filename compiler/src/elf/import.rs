//! Puts functions of imported objects, and what they need, into the script's object.
//!
//! In: the units, the functions to take. Out: more functions, data, maps and kernel
//! symbols in an [`ObjectInput`]. Invariants: only what calls reach is taken;
//! functions become static, so that the verifier checks them with the arguments that
//! they are given (Linux 5.10 checks global ones with any, and knows no pointers to
//! memory there); a name that is taken gets a number, for nobody but people and
//! messages goes by names.

use super::{
    C_DATA, C_ZERO, Content, CopiedSlot, Extern, ExternId, Function, FunctionId, Line, MapIndex, ObjectInput, Reloc,
    Role, Target,
};
use crate::btf::copy::CopiedType;
use crate::btf::encode::{CopiedSection, CopiedVariable, KsymDef, KsymKind};
use crate::cobject::{ExternKind, LinkError, Linkage, Place, Resolved, Section, SectionKind, Unit, resolve};
use std::collections::{BTreeMap, BTreeSet};

/// Adds everything that the linkage needs to an object.
pub fn append(units: &[Unit], linkage: &Linkage, input: &mut ObjectInput<'_>) -> Result<(), LinkError> {
    if linkage.placed().is_empty() {
        return Ok(());
    }
    let mut linker = Linker {
        units,
        linkage,
        before: input.functions.len() as u32,
        taken: names(input),
        data: BTreeMap::new(),
        maps: BTreeMap::new(),
        externs: BTreeMap::new(),
        input,
    };
    linker.input.copied.blobs = units.iter().map(|u| u.btf.clone()).collect();
    let functions = linkage
        .placed()
        .iter()
        .map(|&place| linker.function(place).map_err(|message| LinkError { unit: place.0, message }));
    let functions = functions.collect::<Result<Vec<_>, _>>()?;
    linker.input.functions.extend(functions);
    Ok(())
}

/// Names that the object has already.
fn names(input: &ObjectInput<'_>) -> BTreeSet<String> {
    let functions = input.functions.iter().map(|f| f.name.clone());
    let maps = input.maps.iter().map(|m| m.name.clone());
    functions.chain(maps).chain(input.externs.iter().map(|e| e.symbol.name.clone())).collect()
}

struct Linker<'a, 'o, 't> {
    units: &'a [Unit],
    linkage: &'a Linkage,
    /// Functions that the script has itself.
    before: u32,
    input: &'o mut ObjectInput<'t>,
    taken: BTreeSet<String>,
    /// Places of sections that are in use.
    data: BTreeMap<Place, Target>,
    maps: BTreeMap<Place, MapIndex>,
    externs: BTreeMap<String, ExternId>,
}

impl Linker<'_, '_, '_> {
    /// A name that nothing else has.
    fn name(&mut self, wanted: &str) -> String {
        let numbered = (1..).map(|n| format!("{wanted}_{n}"));
        let mut all = std::iter::once(wanted.to_string()).chain(numbered);
        let name = all.find(|n| !self.taken.contains(n)).unwrap_or_default();
        self.taken.insert(name.clone());
        name
    }

    fn function(&mut self, place: Place) -> Result<Function, String> {
        let function = &self.units[place.0].functions[place.1];
        let relocs = function.uses.iter().map(|(slot, used)| {
            let target = match resolve(self.units, place, used)? {
                Resolved::Call(to) => Target::Call(self.callee(to)?),
                Resolved::Callback(to) => Target::Callback(self.callee(to)?),
                Resolved::Data(section, offset) => self.data(section, offset, &function.name)?,
                Resolved::Map(map) => Target::Map(self.map(map)?),
                Resolved::Kernel(symbol) => Target::Extern(self.kernel(symbol)?),
            };
            Ok(Reloc { slot: *slot, target })
        });
        let relocs = relocs.collect::<Result<Vec<_>, String>>()?;
        let copied = function.relocations.iter().map(|(slot, root, access, kind)| CopiedSlot {
            slot: *slot,
            root: CopiedType { blob: place.0, id: *root },
            access: access.clone(),
            kind: *kind,
        });
        let lines = function.lines.iter().map(|l| Line {
            slot: l.slot,
            file: l.file.clone(),
            text: l.text.clone(),
            line: l.line,
            column: l.column,
        });
        let (copied, lines) = (copied.collect(), lines.collect());
        let params = self.params(place);
        let (name, code) = (self.name(&function.name), function.code.clone());
        Ok(Function { name, role: Role::Subprogram { params }, code, relocs, core: Vec::new(), lines, copied })
    }

    /// Number of parameters; only for people, since the verifier looks at no more of a
    /// static function than that its type is one.
    fn params(&self, (unit, function): Place) -> u8 {
        let btf = &self.units[unit].btf;
        let ty = self.units[unit].functions[function].ty;
        ty.map_or(0, |id| btf.record(btf.record(id).size_or_type).vlen.min(5) as u8)
    }

    fn callee(&self, place: Place) -> Result<FunctionId, String> {
        let at = self.linkage.position(place).ok_or("internal error: a function was not linked")?;
        Ok(FunctionId(self.before + at))
    }

    fn data(&mut self, place: Place, offset: u32, function: &str) -> Result<Target, String> {
        let base = match self.data.get(&place) {
            Some(&known) => known,
            None => {
                let placed = self.section(place, function)?;
                self.data.insert(place, placed);
                placed
            }
        };
        Ok(match base {
            Target::Rodata { offset: start } => Target::Rodata { offset: start + offset },
            Target::Copied { section, offset: start } => Target::Copied { section, offset: start + offset },
            other => other,
        })
    }

    /// Places a section: constants behind the script's, all else in one section per kind.
    fn section(&mut self, place: Place, function: &str) -> Result<Target, String> {
        let section: &Section = &self.units[place.0].sections[place.1];
        if let Some(name) = section.addresses.first() {
            return Err(format!(
                "function `{function}` uses data of {}, where `{name}` is initialised with an address, \
                 which BPF cannot do; fill it in at run time",
                section.name
            ));
        }
        let align = section.align.next_multiple_of(8);
        if section.kind == SectionKind::ReadOnly {
            let start = self.input.rodata.len().next_multiple_of(align as usize);
            self.input.rodata.resize(start, 0);
            self.input.rodata.extend_from_slice(&section.bytes);
            // An address one behind the end is an address, too.
            self.input.rodata.push(0);
            return Ok(Target::Rodata { offset: start as u32 });
        }
        let (name, zero) = match section.kind {
            SectionKind::Zero => (C_ZERO, true),
            _ => (C_DATA, false),
        };
        let at = self.input.copied.sections.iter().position(|s| s.name == name).unwrap_or_else(|| {
            self.input.copied.sections.push(CopiedSection { name: name.into(), size: 0, variables: Vec::new() });
            self.input.sections.push(if zero { Content::Zeros } else { Content::Bytes(Vec::new()) });
            self.input.copied.sections.len() - 1
        });
        let placed = &mut self.input.copied.sections[at];
        let start = placed.size.next_multiple_of(align);
        placed.size = start.saturating_add(section.size);
        placed.variables.extend(section.variables.iter().map(|v| CopiedVariable {
            name: v.name.clone(),
            ty: CopiedType { blob: place.0, id: v.ty },
            offset: start + v.offset,
            size: v.size,
        }));
        if let Content::Bytes(bytes) = &mut self.input.sections[at] {
            bytes.resize(start as usize, 0);
            bytes.extend_from_slice(&section.bytes);
        }
        Ok(Target::Copied { section: at as u32, offset: start })
    }

    fn map(&mut self, place: Place) -> Result<MapIndex, String> {
        if let Some(&known) = self.maps.get(&place) {
            return Ok(known);
        }
        let map = &self.units[place.0].maps[place.1];
        if map.initialised {
            return Err(format!("map `{}` is initialised with maps or programs, which is not supported", map.name));
        }
        let index = MapIndex((self.input.maps.len() + self.input.copied.maps.len()) as u32);
        let ty = CopiedType { blob: place.0, id: map.ty };
        let (wanted, size) = (map.name.clone(), map.size);
        let name = self.name(&wanted);
        self.input.copied.maps.push(CopiedVariable { name, ty, offset: 0, size });
        self.maps.insert(place, index);
        Ok(index)
    }

    /// A kernel symbol. The script may use the same one.
    fn kernel(&mut self, (unit, number): Place) -> Result<ExternId, String> {
        let symbol = &self.units[unit].externs[number];
        if let Some(&known) = self.externs.get(&symbol.name) {
            return Ok(known);
        }
        let ty = |id| CopiedType { blob: unit, id };
        let kind = match symbol.kind {
            ExternKind::KernelFunction(id) => KsymKind::CopiedFunction(ty(id)),
            ExternKind::KernelVariable(id) => KsymKind::CopiedVariable(ty(id)),
            ExternKind::Config(id) => KsymKind::Config(ty(id)),
            ExternKind::Unit => return Err(format!("`{}` is not defined", symbol.name)),
        };
        let own = self.input.externs.iter().position(|e| e.symbol.name == symbol.name);
        let at = own.unwrap_or_else(|| {
            let symbol = Extern { symbol: KsymDef { name: symbol.name.clone(), kind }, weak: symbol.weak };
            self.input.externs.push(symbol);
            self.input.externs.len() - 1
        });
        let id = ExternId(at as u32);
        self.externs.insert(symbol.name.clone(), id);
        Ok(id)
    }
}
