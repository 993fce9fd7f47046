//! Lowering: the typed tree to CLIF.
//!
//! In: [`hir::Program`](crate::hir::tree::Program). Out: [`Lowered`]: functions in
//! CLIF, tables of what the target decides, read-only data, and the manifest.
//! Invariants: decides nothing about the language and knows no BPF encoding; a
//! construct that has no code here yet is a diagnostic that names it. What the
//! kernel's verifier wants is obeyed here, see the comments at each place:
//! every rule stems from a rejection by some kernel between 5.10 and 6.18.

mod access;
mod aggregate;
mod arith;
mod convert;
mod event;
mod expr;
mod failure;
mod find;
mod frame;
mod function;
mod intrinsic;
mod kfunc;
mod layout;
mod loops;
mod manifest;
mod map;
mod memory;
mod rodata;
mod scan;
mod scratch;
mod seq;
mod stmt;
mod strings;
#[cfg(test)]
mod tests;

use btc_payload::layout::ValueType;
use btc_payload::manifest::{Manifest, MapId, MapKind, Operand};
use btc_payload::start::{Feature, StartValue};
use std::collections::BTreeMap;

use crate::btf::core::{CoreError, CoreKind, CoreTable, Step};
use crate::clif::{FuncId, Module, Symbol};
use crate::ctypes::{CTypeId, TypeStore};
use crate::diagnostic::Diagnostic;
use crate::hir::tree::{Probe, Program, ProgramKind};
use crate::span::{SourceMap, Span};
use crate::target::Target;

/// A result whose error is shown to the user.
type R<T> = Result<T, Box<Diagnostic>>;

/// Everything that lowering makes of a script.
pub struct Lowered {
    /// The functions; those of the probes and what they call.
    pub module: Module,
    /// What each function of the module is, by `FuncId`.
    pub functions: Vec<Function>,
    /// CO-RE relocations; `Symbol::Core` refers to them.
    pub core: CoreTable,
    /// What `Symbol::Ctx` refers to, by record number.
    pub operands: Vec<Operand>,
    /// Kernel symbols, by the number in `Symbol::Ksym`.
    pub ksyms: Vec<Ksym>,
    /// Functions of imported C files that are called, by the number in `Symbol::Imported`.
    pub imported: Vec<String>,
    /// Initial content of `.rodata`.
    pub rodata: Vec<u8>,
    /// Bytes of the data section, all zero.
    pub data: u32,
    /// Source positions, by the number given to `set_srcloc`.
    pub spans: Vec<Span>,
    /// The manifest, but for the compiler's version, the script's name, digest
    /// and comment, and the patches, whose places only the back end knows.
    /// `maps` holds the maps of the object in the order that `Symbol::Map`
    /// numbers them; those that are sections are the last.
    pub manifest: Manifest,
}

/// A symbol of the kernel that the loader resolves.
#[derive(Clone, Debug)]
pub struct Ksym {
    /// Its name.
    pub name: String,
    /// The type of a function that is called; `None`: the address is wanted.
    pub function: Option<CTypeId>,
}

/// What a function of the module is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// The probe for which it was made: index into `Manifest::programs`. Patches
    /// in the function are resolved for that probe's attach point.
    pub probe: u32,
    /// What it is.
    pub role: Role,
}

/// The roles of functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A program of this kind.
    Program(ProgramKind),
    /// Called by programs with numbers only; verified by itself.
    Global,
    /// Called by programs; static.
    Subprogram,
    /// Called by `bpf_loop` (`u64 index, void *context`).
    LoopCallback,
    /// Called by `bpf_for_each_map_elem` (`map, key, value, context`).
    MapCallback,
}

/// Where temporaries of programs live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temporaries {
    /// On the stack as far as it goes as a rule: the fastest place.
    OnStack,
    /// In scratch memory: for programs whose intermediate values, which are known only when
    /// registers are allocated, take more of the stack than that.
    InScratch,
}

/// Translates a script.
pub fn lower(
    program: &Program,
    types: &TypeStore,
    sources: &SourceMap,
    target: &'static Target,
    temporaries: Temporaries,
) -> Result<Lowered, Vec<Diagnostic>> {
    let mut cx = Cx::new(program, types, target);
    cx.temporaries = temporaries;
    let mut module = Module::new();
    let mut errors = Vec::new();
    for (index, probe) in program.probes.iter().enumerate() {
        if let Err(e) = function::program(&mut cx, &mut module, index, probe) {
            errors.push(*e);
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(manifest::assemble(cx, module, sources))
}

/// A map as programs use it.
struct MapInfo {
    /// Layout of the key.
    key: ValueType,
    /// Layout of the value.
    value: ValueType,
    /// Kind in the kernel; see [`scan::Scan::shared`].
    kind: MapKind,
    /// The map that holds the full keys, if this one is stored under their hashes.
    keys: Option<u32>,
}

/// What is common to all functions of a script.
struct Cx<'p> {
    program: &'p Program,
    types: &'p TypeStore,
    target: &'static Target,
    temporaries: Temporaries,
    layouts: layout::Layouts<'p>,
    rodata: rodata::Rodata,
    core: CoreTable,
    operands: Vec<Operand>,
    ksyms: Vec<Ksym>,
    imported: Vec<String>,
    spans: Vec<Span>,
    span_ids: BTreeMap<Span, u32>,
    maps: Vec<MapInfo>,
    requirements: Vec<(Feature, String, Span)>,
    functions: Vec<Function>,
    /// Failures that are reported, and where; events behind those of the script.
    failures: Vec<(failure::Failure, Span)>,
    /// Subprograms by what they compute.
    subprograms: BTreeMap<Subprogram, FuncId>,
    /// Bytes of the largest scratch frame; 0: nobody needs one.
    scratch: u32,
    /// Does any program look at the gate?
    gated: bool,
    /// `.rodata` word of each probe that asks which attach point fired.
    identity: BTreeMap<usize, u32>,
}

/// Subprograms that lowering adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subprogram {
    /// `hist` bucket of a value, with that many sub-bucket bits, or a second argument of them.
    HistBucket(Option<u8>),
    /// Hash of a key of that many 64-bit words.
    KeyHash(u32),
    /// Counts a loss: number of the counter.
    CountLoss,
    /// Sends the record of a failed helper: result, number of the event.
    Failed,
}

/// Maps that the runtime and programs share, behind those of the script.
#[derive(Clone, Copy)]
enum Internal {
    Events = 0,
    Losses = 1,
    Scratch = 2,
}

impl<'p> Cx<'p> {
    fn new(program: &'p Program, types: &'p TypeStore, target: &'static Target) -> Self {
        let mut layouts = layout::Layouts::new(types);
        let scan = scan::Scan::of(program, &mut layouts);
        let maps = program.maps.iter().enumerate().map(|(i, m)| MapInfo {
            key: layouts.of(&m.key),
            value: layouts.of(&m.value),
            kind: if scan.shared.contains(&(i as u32)) { scan::shared_kind(m.kind) } else { m.kind },
            keys: None,
        });
        let mut maps: Vec<MapInfo> = maps.collect();
        let mut next = maps.len() as u32;
        for (info, map) in maps.iter_mut().zip(&program.maps) {
            if manifest::script_map(map, info).hashes_keys() {
                info.keys = Some(next);
                next += 1;
            }
        }
        Cx {
            program,
            types,
            target,
            temporaries: Temporaries::OnStack,
            layouts,
            rodata: rodata::Rodata::new(scan.largest),
            core: CoreTable::new(),
            operands: Vec::new(),
            ksyms: Vec::new(),
            imported: Vec::new(),
            spans: Vec::new(),
            span_ids: BTreeMap::new(),
            maps,
            requirements: program.requirements.clone(),
            functions: Vec::new(),
            failures: Vec::new(),
            subprograms: BTreeMap::new(),
            scratch: 0,
            gated: false,
            identity: BTreeMap::new(),
        }
    }

    /// The number of a source position.
    fn srcloc(&mut self, span: Span) -> u32 {
        let next = self.spans.len() as u32;
        let id = *self.span_ids.entry(span).or_insert(next);
        if id == next {
            self.spans.push(span);
        }
        id
    }

    /// The symbol of an operand that the runtime patches.
    fn operand(&mut self, operand: Operand, local: u32) -> Symbol {
        let known = self.operands.iter().position(|o| *o == operand);
        let record = known.unwrap_or_else(|| {
            self.operands.push(operand);
            self.operands.len() - 1
        });
        Symbol::Ctx { record: record as u32, local: u64::from(local) }
    }

    /// The symbol of a CO-RE relocation.
    fn relocation(&mut self, kind: CoreKind, root: CTypeId, path: &[Step], span: Span) -> R<Symbol> {
        match self.core.intern(self.types, kind, root, path) {
            Ok(id) => Ok(Symbol::Core {
                record: id.0,
                local: self.core.local_value(self.types, id),
                wide: kind == CoreKind::EnumvalValue,
            }),
            Err(e) => Err(core_error(e, &self.types.name_of(root), span)),
        }
    }

    /// States that the kernel must be able to do something.
    fn require(&mut self, feature: Feature, construct: &str, span: Span) {
        if !self.requirements.iter().any(|(f, c, _)| *f == feature && c == construct) {
            self.requirements.push((feature, construct.to_owned(), span));
        }
    }

    /// Where a start value lies.
    fn start_word(&mut self, value: StartValue) -> u32 {
        self.rodata.slot(value, rodata::WORD)
    }

    /// The number of an internal map.
    fn internal(&self, map: Internal) -> u32 {
        let companions = self.maps.iter().filter(|m| m.keys.is_some()).count();
        (self.maps.len() + companions) as u32 + map as u32
    }

    /// A map of the script.
    fn map(&self, id: MapId) -> &MapInfo {
        &self.maps[id.0 as usize]
    }

    /// Notes a function that was declared in the module.
    fn declared(&mut self, id: FuncId, probe: usize, role: Role) {
        debug_assert_eq!(id.0 as usize, self.functions.len(), "functions are declared in one place");
        self.functions.push(Function { probe: probe as u32, role });
    }

    /// The word by which a probe learns which of its attach points fired.
    fn identity_word(&mut self, probe: usize) -> u32 {
        if let Some(&at) = self.identity.get(&probe) {
            return at;
        }
        let at = self.rodata.own_word();
        self.identity.insert(probe, at);
        at
    }
}

fn core_error(e: CoreError, root: &str, span: Span) -> Box<Diagnostic> {
    let why = match e {
        CoreError::Anonymous => "it has no name by which the target's type could be found",
        CoreError::NotKernel => "it is no type of the kernel",
        CoreError::BadPath => "the field does not fit the type",
        CoreError::WideBitField => "no load of 8 bytes covers the bit-field",
    };
    Box::new(
        Diagnostic::error("E0901", format!("`{root}` cannot be relocated on the target"))
            .at(span, why)
            .help("define the struct in the script to fix its layout"),
    )
}

/// The error for what has no code here.
fn unsupported<T>(what: &str, span: Span) -> R<T> {
    Err(Box::new(Diagnostic::error("E0900", format!("{what} is not supported yet")).at(span, "used here")))
}

/// An invariant of the typed tree does not hold.
fn internal<T>(what: &str, span: Span) -> R<T> {
    Err(Box::new(
        Diagnostic::error("E0999", format!("internal error in lowering: {what}"))
            .at(span, "while translating this")
            .help("please report this script"),
    ))
}

/// Names for probes in messages and the object.
fn function_name(probe: &Probe) -> &str {
    &probe.function
}
