//! From lowered functions to the BPF object and the complete manifest.
//!
//! In: [`Lowered`]. Out: machine code of every function, the ELF object, the
//! manifest with the places of all patches.

use super::Failure;
use crate::bpf::{self, Code};
use crate::btf::core::CoreId;
use crate::btf::encode::{KsymDef, KsymKind, MapDef, MapPart};
use crate::clif::{FuncId, Symbol};
use crate::cobject::{LinkError, Linkage, Unit};
use crate::ctypes::TypeStore;
use crate::elf::{self, CoreSlot, Extern, ExternId, FunctionId, Line, MapIndex, ObjectInput, Reloc, Role, Target};
use crate::lower::{self, Lowered};
use crate::opt::{self, Level};
use crate::span::SourceMap;
use btc_payload::layout::ValueType;
use btc_payload::manifest::{Map, MapKind, Patch};
use btc_payload::start::StartValue;

/// What the settings say about the sizes that have no size of their own yet.
pub(super) struct Sizes {
    /// Entries of maps.
    pub map_keys: u32,
    /// Bytes of the ring buffer.
    pub ring: u32,
}

/// Default entries of a map, as bpftrace's.
pub(super) const DEFAULT_MAP_KEYS: u32 = 4096;

/// Default size of the ring: it loses nothing at a quarter million events a second.
pub(super) const DEFAULT_RING: u32 = 4 << 20;

/// A function on its way to machine code.
pub(super) struct Compiled {
    pub optimized: crate::clif::Func,
    pub code: Code,
}

/// Optimises and compiles every function.
pub(super) fn compile(lowered: &Lowered, level: Level) -> Result<Vec<Compiled>, Failure> {
    let failure = |e: bpf::Error| match e {
        bpf::Error::Internal(e) => Failure::Internal(e.to_string()),
        limit => Failure::Limit(limit.to_string()),
    };
    let module = &lowered.module;
    let (mut optimized, mut codes) = (Vec::new(), Vec::new());
    for func in &module.funcs {
        let func = opt::optimize(func, level).map_err(|e| Failure::Internal(e.to_string()))?;
        codes.push(bpf::compile(module, &func).map_err(failure)?);
        optimized.push(func);
    }
    bpf::check_calls(module, &codes).map_err(failure)?;
    Ok(optimized.into_iter().zip(codes).map(|(optimized, code)| Compiled { optimized, code }).collect())
}

/// Notes where the runtime must patch.
pub(super) fn patches(lowered: &Lowered, compiled: &[Compiled]) -> Vec<Patch> {
    let mut out = Vec::new();
    for ((func, what), done) in lowered.module.funcs.iter().zip(&lowered.functions).zip(compiled) {
        for r in &done.code.relocs {
            if let Some(Symbol::Ctx { record, local }) = lowered.module.symbols.get(r.symbol) {
                out.push(Patch {
                    program: what.probe,
                    function: func.name.clone(),
                    instruction: r.insn as u32,
                    operand: lowered.operands[record as usize].clone(),
                    expected: local as u32,
                });
            }
        }
    }
    out
}

/// What is linked of imported C files.
pub(super) struct Linked<'a> {
    pub units: &'a [Unit],
    pub linkage: &'a Linkage,
}

/// Why there is no object.
pub(super) enum Error {
    /// A C file cannot be linked.
    Link(LinkError),
    Failure(Failure),
}

/// Writes the object.
pub(super) fn write(
    lowered: &Lowered,
    compiled: &[Compiled],
    types: &TypeStore,
    sources: &SourceMap,
    sizes: &Sizes,
    linked: &Linked<'_>,
) -> Result<Vec<u8>, Error> {
    let functions = lowered.module.funcs.iter().zip(&lowered.functions).zip(compiled);
    let functions =
        functions.map(|((func, what), done)| function(lowered, func, what, &done.code, sources, linked)).collect();
    let mut input = ObjectInput {
        types,
        core: &lowered.core,
        functions,
        maps: lowered.manifest.maps.iter().filter(|m| !m.role.is_section()).map(|m| map(m, sizes)).collect(),
        rodata: lowered.rodata.clone(),
        data: lowered.data,
        variables: Vec::new(),
        license: lowered.manifest.script.license.clone(),
        externs: lowered.ksyms.iter().map(|k| external(lowered, k)).collect(),
        copied: Default::default(),
        sections: Vec::new(),
    };
    elf::append(linked.units, linked.linkage, &mut input).map_err(Error::Link)?;
    elf::write(&input).map_err(|e| Error::Failure(Failure::Internal(format!("{e:#}"))))
}

fn function(
    lowered: &Lowered,
    func: &crate::clif::Func,
    what: &lower::Function,
    code: &Code,
    sources: &SourceMap,
    linked: &Linked<'_>,
) -> elf::Function {
    let (mut relocs, mut core) = (Vec::new(), Vec::new());
    for r in &code.relocs {
        let slot = r.insn as u32;
        let target = match lowered.module.symbols.get(r.symbol) {
            Some(Symbol::Map(n)) => Target::Map(MapIndex(n)),
            Some(Symbol::Rodata(offset)) => Target::Rodata { offset },
            Some(Symbol::Data(offset)) => Target::Data { offset },
            Some(Symbol::Subprog(FuncId(n))) if is_call(code, r.insn) => Target::Call(FunctionId(n)),
            Some(Symbol::Subprog(FuncId(n))) => Target::Callback(FunctionId(n)),
            Some(Symbol::Ksym(n)) => Target::Extern(ExternId(n)),
            // C functions stand behind the script's.
            Some(Symbol::Imported(n)) => match linked.linkage.root(n as usize) {
                Some(at) => Target::Call(FunctionId(lowered.module.funcs.len() as u32 + at)),
                None => continue,
            },
            Some(Symbol::Core { record, .. }) => {
                core.push(CoreSlot { slot, relocation: CoreId(record) });
                continue;
            }
            Some(Symbol::Ctx { .. } | Symbol::Opaque(_)) | None => continue,
        };
        relocs.push(Reloc { slot, target });
    }
    let role = match what.role {
        lower::Role::Program(kind) => Role::Program { section: kind.section() },
        lower::Role::Global => Role::Global { params: func.ir.signature.params.len() as u8 },
        lower::Role::Subprogram => Role::Subprogram { params: func.ir.signature.params.len() as u8 },
        lower::Role::LoopCallback => Role::Subprogram { params: 2 },
        lower::Role::MapCallback => Role::Subprogram { params: 4 },
    };
    let lines = code.lines.iter().filter_map(|l| line(lowered, sources, l)).collect();
    elf::Function { name: func.name.clone(), role, code: code.to_bytes(), relocs, core, lines, copied: Vec::new() }
}

/// A kernel symbol. A function may be missing where the script asks for it before
/// it calls it: the call is dead code then.
fn external(lowered: &Lowered, symbol: &lower::Ksym) -> Extern {
    let asked = lowered.manifest.slots.iter().any(|s| match &s.value {
        StartValue::KfuncExists(name) | StartValue::KfuncAllowed { name, .. } => *name == symbol.name,
        _ => false,
    });
    let kind = symbol.function.map_or(KsymKind::Address, KsymKind::Function);
    let weak = asked || kind == KsymKind::Address;
    Extern { symbol: KsymDef { name: symbol.name.clone(), kind }, weak }
}

/// `call` (0x85) against a 64-bit load of an address.
fn is_call(code: &Code, insn: usize) -> bool {
    code.insns.get(insn).is_some_and(|i| i.to_bytes()[0] == 0x85)
}

fn line(lowered: &Lowered, sources: &SourceMap, l: &bpf::Line) -> Option<Line> {
    let span = lowered.spans.get(l.srcloc as usize)?;
    let file = sources.file(span.file);
    let at = file.position(span.start);
    Some(Line {
        slot: l.insn as u32,
        file: file.name.clone(),
        text: file.line(at.line).trim().to_string(),
        line: at.line,
        column: at.column,
    })
}

fn map(m: &Map, sizes: &Sizes) -> MapDef {
    let (key, value) = match m.kind {
        MapKind::RingBuffer => (MapPart::Absent, MapPart::Absent),
        // The kernel compares the sizes with those of types.
        _ if m.buckets.is_some() => (MapPart::Size(m.key_size()), MapPart::Size(m.value_size())),
        _ => (part(&m.key, m.key_size()), part(&m.value, m.value_size())),
    };
    let max_entries = match m.kind {
        MapKind::RingBuffer => sizes.ring,
        // The runtime sizes scratch memory by the number of CPUs.
        _ => match (m.max_entries, &m.key) {
            (Some(n), _) => n,
            (None, ValueType::Unit) => 1,
            (None, _) => sizes.map_keys,
        },
    };
    MapDef { name: m.symbol.clone(), map_type: m.kind.bpf_map_type(), key, value, max_entries, flags: 0 }
}

fn part(ty: &ValueType, size: u32) -> MapPart {
    match ty {
        ValueType::Int { size: n, signed } if u32::from(*n) == size => MapPart::Int { size, signed: *signed },
        _ if size == 4 => MapPart::Int { size, signed: false },
        _ => MapPart::Bytes(size),
    }
}
