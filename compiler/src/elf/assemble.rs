//! From compiled functions to the input of the object writer.
//!
//! In: the code of all functions and the tables that its symbols refer to.
//! Out: the object, and the patches for the manifest: instructions whose place
//! is known only now and whose operand only the tracer will know.
//! Invariants: functions, maps and kernel symbols keep their numbers; the map of
//! read-only data is the last one, because it is a section and not a definition.

use anyhow::{Context as _, Result, bail, ensure};
use btc_payload::manifest::{Map, MapKind, Operand, Patch, SCRATCH_SLOTS};

use super::{CoreSlot, Extern, ExternId, Function, FunctionId, Line, MapIndex, ObjectInput, Reloc, Role, Target};
use crate::bpf::insn::CALL;
use crate::bpf::{self, Code};
use crate::btf::core::{CoreId, CoreTable};
use crate::btf::encode::{KsymDef, KsymKind, MapDef, MapPart};
use crate::clif::{Module, Symbol};
use crate::ctypes::TypeStore;
use crate::hir::tree::ProgramKind;
use crate::span::{SourceMap, Span};

/// Entries of a map of the script when neither script nor user say otherwise.
const DEFAULT_ENTRIES: u32 = 4096;
/// Bytes of the ring buffer; as the runtime's default.
const DEFAULT_RING: u32 = 4 << 20;

/// What the object is made of.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// Where the types of `core` are.
    pub types: &'a TypeStore,
    /// What `Symbol::Core` refers to.
    pub core: &'a CoreTable,
    /// Names of the functions, and the symbols of their relocations.
    pub module: &'a Module,
    /// The code of the module's functions, in their order.
    pub codes: &'a [Code],
    /// What each of them is: the probe for which it was made, and its role.
    pub roles: &'a [(u32, Role)],
    /// What `Symbol::Map` refers to.
    pub maps: &'a [Map],
    /// Initial bytes of `.rodata`.
    pub rodata: &'a [u8],
    /// What `Symbol::Ksym` refers to.
    pub ksyms: &'a [String],
    /// What `Symbol::Ctx` refers to.
    pub operands: &'a [Operand],
    /// Licence of the programs.
    pub license: &'a str,
    /// Source positions by number.
    pub spans: &'a [Span],
    /// The texts that they lie in.
    pub sources: &'a SourceMap,
}

/// The object and what goes into the manifest with it.
pub struct Assembled {
    /// The ELF file.
    pub object: Vec<u8>,
    /// Instructions for the tracer to patch.
    pub patches: Vec<Patch>,
}

/// Section of the programs of a kind, by the names that libbpf knows.
pub fn section(kind: ProgramKind) -> &'static str {
    match kind {
        ProgramKind::RawTracepointRun | ProgramKind::RawTracepoint => "raw_tp",
        ProgramKind::Tracepoint => "tracepoint",
        ProgramKind::Kprobe => "kprobe",
        ProgramKind::Kretprobe => "kretprobe",
        ProgramKind::Uprobe => "uprobe",
        ProgramKind::Uretprobe => "uretprobe",
        ProgramKind::Fentry => "fentry",
        ProgramKind::Fexit => "fexit",
        ProgramKind::PerfEvent => "perf_event",
        ProgramKind::Iter => "iter",
    }
}

/// Makes the object.
pub fn assemble(parts: &Parts<'_>) -> Result<Assembled> {
    let count = parts.module.funcs.len();
    ensure!(
        parts.codes.len() == count && parts.roles.len() == count,
        "internal error: {count} functions, but code of {} and roles of {}",
        parts.codes.len(),
        parts.roles.len()
    );
    let mut patches = Vec::new();
    let mut functions = Vec::with_capacity(count);
    for index in 0..count {
        functions.push(parts.function(index, &mut patches)?);
    }
    let input = ObjectInput {
        types: parts.types,
        core: parts.core,
        functions,
        maps: definitions(parts.maps)?,
        rodata: parts.rodata.to_vec(),
        variables: Vec::new(),
        license: parts.license.into(),
        externs: parts.externs()?,
    };
    Ok(Assembled { object: super::write(&input)?, patches })
}

impl Parts<'_> {
    fn function(&self, index: usize, patches: &mut Vec<Patch>) -> Result<Function> {
        let (func, code, (probe, role)) = (&self.module.funcs[index], &self.codes[index], &self.roles[index]);
        let mut out = Function {
            name: func.name.clone(),
            role: role.clone(),
            code: code.to_bytes(),
            relocs: Vec::new(),
            core: Vec::new(),
            lines: self.lines(code),
        };
        for use_ in &code.relocs {
            let slot = u32::try_from(use_.insn)?;
            match self.meaning(code, use_).with_context(|| format!("instruction {slot} of `{}`", func.name))? {
                Meaning::Target(target) => out.relocs.push(Reloc { slot, target }),
                Meaning::Core(relocation) => out.core.push(CoreSlot { slot, relocation }),
                Meaning::Patch(operand, expected) => patches.push(Patch {
                    program: *probe,
                    function: func.name.clone(),
                    instruction: slot,
                    operand,
                    expected,
                }),
            }
        }
        Ok(out)
    }

    /// What the symbol of a relocation asks of the object.
    fn meaning(&self, code: &Code, use_: &bpf::Reloc) -> Result<Meaning> {
        let call = code.insns.get(use_.insn).is_some_and(|i| i.opcode == CALL);
        let symbol = self.module.symbols.get(use_.symbol).context("internal error: unknown symbol")?;
        Ok(match symbol {
            Symbol::Map(index) => Meaning::Target(Target::Map(MapIndex(index))),
            Symbol::Rodata(offset) => Meaning::Target(Target::Rodata { offset }),
            Symbol::Subprog(id) if call => Meaning::Target(Target::Call(FunctionId(id.0))),
            Symbol::Subprog(id) => Meaning::Target(Target::Callback(FunctionId(id.0))),
            Symbol::Ksym(index) => Meaning::Target(Target::Extern(ExternId(index))),
            Symbol::Core { record, .. } => Meaning::Core(CoreId(record)),
            Symbol::Ctx { record, local } => {
                let operand = self.operands.get(record as usize).context("internal error: unknown operand")?;
                Meaning::Patch(operand.clone(), u32::try_from(local)?)
            }
            Symbol::Opaque(_) => bail!("internal error: a constant has a relocation"),
        })
    }

    /// Source lines of a function; positions on the line of the one before are left out.
    fn lines(&self, code: &Code) -> Vec<Line> {
        let mut out: Vec<Line> = Vec::new();
        for at in &code.lines {
            let Some(span) = self.spans.get(at.srcloc as usize) else { continue };
            if span.file.0 as usize >= self.sources.files().count() {
                continue;
            }
            let file = self.sources.file(span.file);
            let position = file.position(span.start);
            if out.last().is_some_and(|l| l.line == position.line && l.file == file.name) {
                continue;
            }
            out.push(Line {
                slot: at.insn as u32,
                file: file.name.clone(),
                text: file.line(position.line).into(),
                line: position.line,
                column: position.column,
            });
        }
        out
    }

    /// Kernel symbols: those that are called need their type.
    fn externs(&self) -> Result<Vec<Extern>> {
        let called = |index: usize| {
            let wanted = |code: &Code, use_: &bpf::Reloc| {
                matches!(self.module.symbols.get(use_.symbol), Some(Symbol::Ksym(i)) if i as usize == index)
                    && code.insns.get(use_.insn).is_some_and(|i| i.opcode == CALL)
            };
            self.codes.iter().any(|code| code.relocs.iter().any(|r| wanted(code, r)))
        };
        let symbol = |(index, name): (usize, &String)| {
            let kind = if called(index) {
                let function = self.types.find_func(name, None);
                KsymKind::Function(function.with_context(|| format!("internal error: no type of `{name}`"))?.ty)
            } else {
                KsymKind::Address
            };
            // Weak: the runtime knows what is missing and says what for.
            Ok(Extern { symbol: KsymDef { name: name.clone(), kind }, weak: true })
        };
        self.ksyms.iter().enumerate().map(symbol).collect()
    }
}

/// What a relocation of the back end becomes.
enum Meaning {
    Target(Target),
    Core(CoreId),
    Patch(Operand, u32),
}

/// Definitions of all maps but `.rodata`.
fn definitions(maps: &[Map]) -> Result<Vec<MapDef>> {
    let defined = maps.iter().take_while(|m| m.kind != MapKind::ReadOnlyData);
    let defined: Vec<MapDef> = defined.map(definition).collect();
    ensure!(defined.len() + 1 >= maps.len(), "internal error: maps behind the read-only data");
    Ok(defined)
}

/// A map as libbpf creates it. Sizes that depend on the target or on the user
/// are set by the runtime; the values here serve those who load the object by
/// other means.
fn definition(map: &Map) -> MapDef {
    // BPF_MAP_TYPE_* of include/uapi/linux/bpf.h.
    let (map_type, entries) = match map.kind {
        MapKind::Hash => (1, DEFAULT_ENTRIES),
        MapKind::LruHash => (9, DEFAULT_ENTRIES),
        MapKind::PerCpuHash => (5, DEFAULT_ENTRIES),
        MapKind::PerCpuLruHash => (10, DEFAULT_ENTRIES),
        MapKind::Array | MapKind::ReadOnlyData => (2, SCRATCH_SLOTS),
        MapKind::PerCpuArray => (6, SCRATCH_SLOTS),
        MapKind::RingBuffer => (27, DEFAULT_RING),
    };
    let (key, value) = match map.kind {
        MapKind::RingBuffer => (MapPart::Absent, MapPart::Absent),
        // The kernel wants the key of an array to be an integer (`array_map_check_btf`).
        MapKind::Array | MapKind::PerCpuArray | MapKind::ReadOnlyData => {
            (MapPart::Int { size: map.key_size(), signed: false }, MapPart::Bytes(map.value_size()))
        }
        _ => (MapPart::Bytes(map.key_size()), MapPart::Bytes(map.value_size())),
    };
    let max_entries = map.max_entries.unwrap_or(entries);
    MapDef { name: map.symbol.clone(), map_type, key, value, max_entries, flags: 0 }
}
