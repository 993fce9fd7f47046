//! Runs the stages in order: the only place that knows the order.
//!
//! In: a [`Request`]. Out: [`Output`] of the form asked for, and messages.
//! All I/O of the compiler happens here, in `btf::source` and in `link`.

mod clang;
mod emit;
mod facts;
mod object;
mod source;

pub(crate) use source::LIBRARY;

use crate::btf::reference::Reference;
use crate::btf::source::BtfSources;
use crate::cobject::{self, Functions, Linkage, Unit};
use crate::ctypes::TypeStore;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::hir::tree::Program;
use crate::lower::{Lowered, Temporaries};
use crate::opt::Level;
use crate::sema::{self, Environment, config};
use crate::span::{SourceMap, Span};
use crate::syntax::parse::{is_deep_stack, on_deep_stack};
use crate::target::X86_64;
use anyhow::Context;
use btc_payload::header;
use btc_payload::manifest::UNSAFE;
use btc_payload::probe::AttachPoint;
use object::Compiled;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The forms that output can have: the stages in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Emit {
    /// The syntax tree, macros not expanded.
    Ast,
    /// The typed tree.
    Hir,
    /// CLIF as lowered.
    Clif,
    /// CLIF after the optimiser.
    ClifOpt,
    /// BPF assembly.
    Bpf,
    /// The BPF ELF object.
    Obj,
    /// The payload: manifest, object and source.
    Payload,
    /// The executable.
    Exe,
}

/// Where kernel types come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Btf {
    /// The bundled reference.
    #[default]
    Reference,
    /// Files; raw BTF or ELF.
    Files(Vec<PathBuf>),
    /// The running kernel; the reference where it has none.
    Running,
}

/// What to build.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Name of the script as messages show it.
    pub name: String,
    /// Where it came from, if from a file.
    pub path: Option<PathBuf>,
    /// Its text.
    pub text: String,
    /// `-I`.
    pub include_dirs: Vec<PathBuf>,
    /// `--include`.
    pub includes: Vec<String>,
    /// `--unsafe`.
    pub allow_unsafe: bool,
    /// `--config name=value` and the environment's settings.
    pub settings: Vec<(String, String)>,
    /// Kernel types.
    pub btf: Btf,
    /// `--debuginfo`: where debug files of user binaries are looked for, besides the usual places.
    pub debug_dirs: Vec<PathBuf>,
    /// What the tracer is for.
    pub purpose: sema::Purpose,
    /// Optimise?
    pub unoptimized: bool,
    /// Values of `$1`, `$2`, ..., if the script will run with just them. They are used where
    /// nothing but a constant will do; the tracer still takes its own.
    pub parameters: Vec<String>,
}

impl Request {
    /// Where imports and includes are looked for.
    fn directory(&self) -> PathBuf {
        match self.path.as_deref().and_then(Path::parent) {
            Some(p) if !p.as_os_str().is_empty() => p.to_path_buf(),
            _ => PathBuf::from("."),
        }
    }
}

/// Why nothing was built.
#[derive(Debug)]
pub enum Failure {
    /// Messages about the script say why.
    Reported,
    /// A limit of BPF that the script as a whole exceeds.
    Limit(String),
    /// A broken invariant of the compiler.
    Internal(String),
    /// The environment: a file, the bundled data.
    Environment(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(e: anyhow::Error) -> Self {
        Failure::Environment(e)
    }
}

/// Everything a compilation made.
pub struct Compilation<T = Vec<u8>> {
    /// The texts that were read, for rendering messages.
    pub sources: SourceMap,
    /// The messages.
    pub diagnostics: Diagnostics,
    /// What was asked for.
    pub output: Result<T, Failure>,
}

/// Compiles a script up to the form asked for.
pub fn compile(request: &Request, emit: Emit) -> Compilation {
    collect(|sources, diagnostics| run(request, emit, sources, diagnostics))
}

/// The attach points that a script names, in its order.
pub fn attach_points(request: &Request) -> Compilation<Vec<AttachPoint>> {
    collect(|sources, diagnostics| {
        let front = Front::new(request, sources, diagnostics)?;
        let program = front.program(request, diagnostics)?;
        Ok(program.probes.into_iter().map(|p| p.attach).collect())
    })
}

/// A script in standard form. Its types and imports are not looked at.
pub fn format(request: &Request) -> Compilation {
    collect(|sources, diagnostics| {
        let path = request.path.as_deref();
        let file = sources.add(&request.name, path, request.text.clone());
        let options = crate::syntax::parse::ParseOptions::default();
        let text = crate::syntax::format::without_directives(&request.text);
        let parsed = crate::syntax::parse::parse_script(file, &text, &options, diagnostics);
        let script = parsed.ok_or(Failure::Reported)?;
        Ok(crate::syntax::format::format(&script, &request.text).into_bytes())
    })
}

fn collect<T: Send>(
    work: impl FnOnce(&mut SourceMap, &mut Diagnostics) -> Result<T, Failure> + Send,
) -> Compilation<T> {
    let all = || {
        let mut sources = SourceMap::default();
        let mut diagnostics = Diagnostics::default();
        let output = work(&mut sources, &mut diagnostics);
        Compilation { sources, diagnostics, output }
    };
    // The trees of generated scripts are deep, and every stage recurses. Who compiles
    // many scripts stays on one thread, for what it has read of the kernel's types.
    if is_deep_stack() { all() } else { on_deep_stack(all) }
}

/// A script as read, with what its names refer to.
struct Front {
    reference: Rc<Reference>,
    types: TypeStore,
    tree: source::Tree,
    /// Functions of imported C files.
    imported: Imported,
}

/// Imported C files.
struct Imported {
    units: Vec<Unit>,
    /// Where they are imported.
    spans: Vec<Span>,
    functions: Functions,
}

impl Imported {
    fn new(objects: Vec<(Unit, Span)>, types: &TypeStore, diagnostics: &mut Diagnostics) -> Self {
        let (units, spans): (Vec<Unit>, Vec<Span>) = objects.into_iter().unzip();
        let (functions, twice) = cobject::signatures(&units, types);
        let mut pairs: BTreeMap<(usize, usize), Vec<String>> = BTreeMap::new();
        for t in twice {
            pairs.entry(t.units).or_default().push(format!("`{}`", t.name));
        }
        for ((first, again), names) in pairs {
            diagnostics.push(
                Diagnostic::error("E0337", format!("two C files define {}", names.join(", ")))
                    .at(spans[again], format!("`{}` does", units[again].name))
                    .also(spans[first], format!("`{}` does, too", units[first].name))
                    .help("make one of them `static`, or `__attribute__((weak))`"),
            );
        }
        Imported { units, spans, functions }
    }

    /// The functions that are linked for those that the script calls.
    fn link(&self, called: &[String], diagnostics: &mut Diagnostics) -> Result<Linkage, Failure> {
        let roots: Vec<_> = called.iter().filter_map(|n| Some(self.functions.callable.get(n)?.place)).collect();
        Linkage::new(&self.units, &roots).map_err(|e| self.report(e, diagnostics))
    }

    fn report(&self, error: cobject::LinkError, diagnostics: &mut Diagnostics) -> Failure {
        let name = &self.units[error.unit].name;
        let d = Diagnostic::error("E0338", format!("`{name}` cannot be linked"));
        diagnostics.push(d.at(self.spans[error.unit], error.message));
        Failure::Reported
    }
}

impl Front {
    fn new(request: &Request, sources: &mut SourceMap, diagnostics: &mut Diagnostics) -> Result<Self, Failure> {
        let script = sources.add(request.name.clone(), request.path.as_deref(), request.text.clone());
        let reference = Rc::new(Reference::load().context("the bundled reference cannot be read")?);
        let types = TypeStore::new(kernel_types(&request.btf)?);
        let mut tree = source::read(request, &types, &reference, sources, script, diagnostics)?;
        let imported = Imported::new(std::mem::take(&mut tree.objects), &types, diagnostics);
        Ok(Front { reference, types, tree, imported })
    }

    fn program(&self, request: &Request, diagnostics: &mut Diagnostics) -> Result<Program, Failure> {
        let facts = facts::ReferenceFacts::new(&self.reference, &self.types, &request.debug_dirs);
        analyse(request, &self.tree.expanded, &self.types, &facts, &self.imported.functions, diagnostics)
    }
}

fn run(
    request: &Request,
    emit: Emit,
    sources: &mut SourceMap,
    diagnostics: &mut Diagnostics,
) -> Result<Vec<u8>, Failure> {
    let front = Front::new(request, sources, diagnostics)?;
    if emit == Emit::Ast && !diagnostics.has_errors() {
        return Ok(crate::syntax::print::dump(&front.tree.written, sources).into_bytes());
    }
    let program = front.program(request, diagnostics)?;
    let types = &front.types;
    if emit == Emit::Hir {
        return Ok(crate::hir::print::dump(&program, types).into_bytes());
    }
    let lower = |temporaries, diagnostics: &mut Diagnostics| {
        crate::lower::lower(&program, types, sources, &X86_64, temporaries)
            .map_err(|errors| report(errors, diagnostics))
    };
    let mut lowered = lower(Temporaries::OnStack, diagnostics)?;
    if emit == Emit::Clif {
        return Ok(emit::clif(&lowered).into_bytes());
    }
    let level = if request.unoptimized { Level::None } else { Level::Full };
    let compiled = match object::compile(&lowered, level) {
        Err(Failure::Limit(_)) => {
            lowered = lower(Temporaries::InScratch, diagnostics)?;
            object::compile(&lowered, level)?
        }
        done => done?,
    };
    match emit {
        Emit::ClifOpt => return Ok(emit::optimized(&compiled).into_bytes()),
        Emit::Bpf => return Ok(emit::assembly(&lowered, &compiled, types).into_bytes()),
        _ => {}
    }
    complete_manifest(request, &program, &mut lowered, &compiled);
    let linkage = front.imported.link(&lowered.imported, diagnostics)?;
    let linked = object::Linked { units: &front.imported.units, linkage: &linkage };
    let object = object::write(&lowered, &compiled, types, sources, &sizes(&program), &linked);
    let object = object.map_err(|e| match e {
        object::Error::Link(e) => front.imported.report(e, diagnostics),
        object::Error::Failure(e) => e,
    })?;
    if emit == Emit::Obj {
        return Ok(object);
    }
    let payload = header::write(&lowered.manifest, &object, request.text.as_bytes())
        .map_err(|e| Failure::Internal(e.to_string()))?;
    if emit == Emit::Payload {
        return Ok(payload);
    }
    Ok(crate::link::link(crate::link::template::executable()?, &payload)?)
}

fn kernel_types(btf: &Btf) -> Result<BtfSources, Failure> {
    Ok(match btf {
        Btf::Reference => BtfSources::reference()?,
        Btf::Files(paths) => BtfSources::files(paths)?,
        Btf::Running => match BtfSources::running() {
            Ok(sources) => sources,
            Err(_) => BtfSources::reference()?,
        },
    })
}

/// Errors that may only come from a type, constant or macro that could not be read:
/// no probes, unknown words, macros without a value, types, fields, functions; variables without type.
const CONSEQUENCES: &[&str] =
    &["E0300", "E0206", "E0207", "E0243", "E0244", "E0259", "E0270", "E0271", "E0277", "E0400"];

fn analyse(
    request: &Request,
    script: &crate::syntax::ast::Script,
    types: &TypeStore,
    facts: &dyn sema::Facts,
    imported: &Functions,
    diagnostics: &mut Diagnostics,
) -> Result<Program, Failure> {
    // Settings that size code must be known before types are.
    let (mut settings, _) = script
        .items
        .iter()
        .find_map(|i| match i {
            crate::syntax::ast::Item::Config(entries) => Some(config::read(entries)),
            _ => None,
        })
        .unwrap_or_default();
    settings.extend(request.settings.iter().cloned());
    let env = Environment {
        types,
        facts,
        imported,
        allow_unsafe: request.allow_unsafe,
        settings: request.settings.clone(),
        limits: config::limits(&settings),
        purpose: request.purpose,
        parameters: request.parameters.clone(),
    };
    let (program, found) = sema::analyse(script, &env);
    let incomplete = diagnostics.has_errors();
    found.into_iter().filter(|d| !(incomplete && CONSEQUENCES.contains(&d.code))).for_each(|d| diagnostics.push(d));
    if diagnostics.has_errors() { Err(Failure::Reported) } else { Ok(program) }
}

fn report(errors: Vec<Diagnostic>, diagnostics: &mut Diagnostics) -> Failure {
    errors.into_iter().for_each(|d| diagnostics.push(d));
    Failure::Reported
}

fn sizes(program: &Program) -> object::Sizes {
    let number = |name: &str| config::value(&program.settings, name).and_then(|v| v.parse::<u64>().ok());
    // No pages means as many as there are without the setting, as in bpftrace.
    let ring = number("perf_rb_pages").filter(|&pages| pages > 0).map_or(object::DEFAULT_RING, |pages| {
        u32::try_from(pages.saturating_mul(4096).next_power_of_two()).unwrap_or(1 << 31)
    });
    object::Sizes {
        map_keys: number("max_map_keys").and_then(|n| u32::try_from(n).ok()).unwrap_or(object::DEFAULT_MAP_KEYS),
        ring,
    }
}

/// Adds to the manifest what only the driver and the back end know.
fn complete_manifest(request: &Request, program: &Program, lowered: &mut Lowered, compiled: &[Compiled]) {
    let patches = object::patches(lowered, compiled);
    let m = &mut lowered.manifest;
    m.compiler = env!("CARGO_PKG_VERSION").to_string();
    // Without directories: the same script gives the same bytes wherever it lies.
    m.script.name = match &request.path {
        Some(p) => p.file_name().map_or_else(|| request.name.clone(), |n| n.to_string_lossy().into_owned()),
        None => request.name.clone(),
    };
    m.script.digest = emit::digest(request.text.as_bytes());
    m.script.about = emit::about(&request.text);
    m.script.license.clone_from(&program.license);
    m.patches = patches;
    if request.allow_unsafe {
        m.settings.push((UNSAFE.into(), "true".into()));
    }
}
