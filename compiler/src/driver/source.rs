//! From the script's text and what it imports to one expanded syntax tree.
//!
//! In: the script, `-I`, `--include`, the type store. Out: the tree without
//! macros, with the C types in the store; the tree as parsed, for `--emit ast`;
//! the objects of C files. An import is read once, whatever the number of its mentions.

use super::clang;
use super::facts::Headers;
use super::{Failure, Request};
use crate::btf::reference::Reference;
use crate::cobject::Unit;
use crate::ctypes::TypeStore;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::sema::expand::{self, Defines};
use crate::span::{FileId, SourceMap, Span, Spanned};
use crate::syntax::ast;
use crate::syntax::c::{CFrontEnd, Macros, Options, Target};
use crate::syntax::parse::{ParseOptions, parse_expression, parse_script};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Macros of the library that every script sees.
pub(crate) const LIBRARY: &[(&str, &str)] = &[("<stdlib>/base.bt", include_str!("../../../stdlib/base.bt"))];

/// What was read.
pub(super) struct Tree {
    /// As parsed, imports included.
    pub written: ast::Script,
    /// With all macros expanded.
    pub expanded: ast::Script,
    /// Imported C files, with the places of the imports.
    pub objects: Vec<(Unit, Span)>,
}

/// Reads, parses and expands a script. A tree is also given when the C part has errors:
/// its types and constants are not complete then.
pub(super) fn read(
    request: &Request,
    types: &TypeStore,
    reference: &Rc<Reference>,
    sources: &mut SourceMap,
    script: FileId,
    diagnostics: &mut Diagnostics,
) -> Result<Tree, Failure> {
    let options = Options {
        include_dirs: request.include_dirs.clone(),
        system_dirs: Vec::new(),
        defines: vec![("BPFTRACE_HAVE_BTF".into(), "1".into())],
        target: Target::X86_64,
        read: Rc::new(|path: &Path| std::fs::read(path)),
        oracle: Rc::new(Headers(reference.clone())),
    };
    let c = CFrontEnd::new(types, options);
    let (imported, objects) = (BTreeSet::new(), Vec::new());
    let mut reader = Reader { c, request, types, sources, diagnostics, imported, objects };
    for header in &request.includes {
        reader.c.include(reader.sources, header);
    }
    let written = reader.script(script, &request.directory());
    let library = reader.library();
    let Reader { c, sources, diagnostics, objects, .. } = reader;
    let unreadable = diagnostics.has_errors();
    let (macros, problems) = c.finish();
    problems.into_iter().for_each(|d| diagnostics.push(d));
    // Errors of the C part leave the probes readable: theirs are shown, too.
    if unreadable {
        return Err(Failure::Reported);
    }
    let text = |span: Span| sources.text(span).to_string();
    let (expanded, problems) = expand::expand(written.clone(), &library, &CMacros(&macros), &text);
    problems.into_iter().for_each(|d| diagnostics.push(d));
    Ok(Tree { written, expanded, objects })
}

struct Reader<'a> {
    c: CFrontEnd<'a>,
    request: &'a Request,
    types: &'a TypeStore,
    sources: &'a mut SourceMap,
    diagnostics: &'a mut Diagnostics,
    imported: BTreeSet<PathBuf>,
    objects: Vec<(Unit, Span)>,
}

/// What an imported file is, by its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FileKind {
    Script,
    Header,
    /// C for BPF.
    C,
    /// An object that was made of that.
    Object,
    /// C or an object that is not said to be BPF's.
    Other,
}

impl FileKind {
    fn of(name: &str) -> FileKind {
        const ENDINGS: &[(&str, FileKind)] = &[
            (".h", FileKind::Header),
            (".bpf.c", FileKind::C),
            (".bpf.o", FileKind::Object),
            (".c", FileKind::Other),
            (".o", FileKind::Other),
        ];
        ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map_or(FileKind::Script, |e| e.1)
    }

    /// Is it imported with its directory?
    fn of_directory(name: &str) -> bool {
        let kind = FileKind::of(name);
        kind != FileKind::Other && (kind != FileKind::Script || name.ends_with(".bt"))
    }
}

impl Reader<'_> {
    /// Parses a file and what it imports; imports come first.
    fn script(&mut self, file: FileId, directory: &Path) -> ast::Script {
        let prepared = self.c.script(self.sources, file);
        let Some(parsed) = parse(file, &prepared.text, self.diagnostics) else { return ast::Script::default() };
        let mut items = Vec::new();
        for item in parsed.items {
            match item {
                ast::Item::Import(name) => items.extend(self.import(&name, directory).items),
                other => items.push(other),
            }
        }
        ast::Script { items }
    }

    fn import(&mut self, name: &Spanned<String>, directory: &Path) -> ast::Script {
        let path = directory.join(&name.value);
        // The standard library is there without being asked for.
        if name.value == "stdlib" && !path.exists() {
            return ast::Script::default();
        }
        let Ok(real) = path.canonicalize() else {
            self.diagnostics.push(
                Diagnostic::error("E0330", format!("cannot import `{}`", name.value))
                    .at(name.span, "no such file or directory")
                    .help(format!("looked for {}", path.display())),
            );
            return ast::Script::default();
        };
        if let Err(why) = trusted(&real) {
            self.diagnostics.push(
                Diagnostic::error("E0331", format!("refusing to import `{}`", name.value))
                    .at(name.span, why)
                    .help("others could change what is compiled; remove the permission with chmod o-w"),
            );
            return ast::Script::default();
        }
        if !self.imported.insert(real.clone()) {
            return ast::Script::default();
        }
        if real.is_dir() { self.directory(&real, name) } else { self.file(&real, name) }
    }

    /// Every file of a directory, in order of their names.
    fn directory(&mut self, path: &Path, name: &Spanned<String>) -> ast::Script {
        let mut files: Vec<PathBuf> = std::fs::read_dir(path)
            .map(|entries| entries.filter_map(|e| Some(e.ok()?.path())).collect())
            .unwrap_or_default();
        files.sort();
        let mut out = ast::Script::default();
        for file in files {
            let known = file.file_name().is_some_and(|n| FileKind::of_directory(&n.to_string_lossy()));
            if known && self.imported.insert(file.clone()) {
                out.items.extend(self.file(&file, name).items);
            }
        }
        out
    }

    fn file(&mut self, path: &Path, name: &Spanned<String>) -> ast::Script {
        let shown = path.file_name().map_or_else(|| name.value.clone(), |n| n.to_string_lossy().into_owned());
        let kind = FileKind::of(&shown);
        match kind {
            FileKind::C => self.c_file(path, &shown, name.span),
            FileKind::Object => self.object_file(path, &shown, name.span),
            FileKind::Other => self.diagnostics.push(
                Diagnostic::error("E0332", format!("`{shown}` is nothing that can be imported"))
                    .at(name.span, "neither .bt nor .h, .bpf.c or .bpf.o")
                    .help("C code for BPF has a name that ends in .bpf.c"),
            ),
            FileKind::Script | FileKind::Header => {}
        }
        if !matches!(kind, FileKind::Script | FileKind::Header) {
            return ast::Script::default();
        }
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) => {
                self.diagnostics.push(
                    Diagnostic::error("E0330", format!("cannot import `{}`", name.value)).at(name.span, e.to_string()),
                );
                return ast::Script::default();
            }
        };
        let file = self.sources.add(shown.clone(), Some(path), text);
        if kind == FileKind::Header {
            self.c.header(self.sources, file);
            return ast::Script::default();
        }
        self.script(file, path.parent().unwrap_or(Path::new(".")))
    }

    /// Compiles a C file.
    fn c_file(&mut self, path: &Path, shown: &str, span: Span) {
        let kernel = || self.types.sources().bases().next().map(|found| crate::btf::header::header(&found.btf));
        let (directories, headers) = (&self.request.include_dirs, &self.request.includes);
        let search = clang::Search { kernel: &kernel, directories, headers };
        let failed = match clang::compile(path, &search) {
            Ok(made) => {
                if !made.warnings.is_empty() {
                    let d = Diagnostic::warning("W0335", format!("clang warns of something in `{shown}`"));
                    self.diagnostics.push(d.at(span, "imported here").help(made.warnings));
                }
                return self.object(&made.object, shown, span);
            }
            Err(failed) => failed,
        };
        self.diagnostics.push(match failed {
            clang::Error::Missing(called) => Diagnostic::error("E0334", format!("`{shown}` takes clang to compile"))
                .at(span, format!("`{called}` cannot be run"))
                .help("install it: `apt-get install clang` on Debian and Ubuntu, `dnf install clang` on Fedora")
                .help(format!("or name one: {}=/path/to/clang", clang::VARIABLE))
                .help("or import what it made elsewhere, as NAME.bpf.o: `clang -target bpf -mcpu=v3 -O2 -g -c`"),
            clang::Error::Refused(said) => Diagnostic::error("E0335", format!("clang cannot compile `{shown}`"))
                .at(span, "imported here")
                .help(said),
            clang::Error::Other(why) => {
                Diagnostic::error("E0335", format!("`{shown}` cannot be compiled")).at(span, "imported here").help(why)
            }
        });
    }

    fn object_file(&mut self, path: &Path, shown: &str, span: Span) {
        match std::fs::read(path) {
            Ok(bytes) => self.object(&bytes, shown, span),
            Err(e) => self
                .diagnostics
                .push(Diagnostic::error("E0330", format!("cannot import `{shown}`")).at(span, e.to_string())),
        }
    }

    fn object(&mut self, bytes: &[u8], shown: &str, span: Span) {
        match Unit::read(shown, bytes) {
            Ok(unit) => self.objects.push((unit, span)),
            Err(why) => self
                .diagnostics
                .push(Diagnostic::error("E0336", format!("the object of `{shown}` cannot be used")).at(span, why)),
        }
    }

    fn library(&mut self) -> Vec<ast::Macro> {
        let mut macros = Vec::new();
        for (name, text) in LIBRARY {
            let file = self.sources.add(*name, None, (*text).to_string());
            let Some(parsed) = parse(file, text, self.diagnostics) else { continue };
            macros.extend(parsed.items.into_iter().filter_map(|item| match item {
                ast::Item::Macro(m) => Some(m),
                _ => None,
            }));
        }
        macros
    }
}

fn parse(file: FileId, text: &str, diagnostics: &mut Diagnostics) -> Option<ast::Script> {
    let options = ParseOptions { is_value: &is_value };
    parse_script(file, text, &options, diagnostics)
}

/// Words that are values, so that `(pid) - 1` is no cast.
fn is_value(word: &str) -> bool {
    crate::sema::is_builtin(word)
}

/// Is nobody else able to change what is imported?
#[cfg(unix)]
fn trusted(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let directory = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let mode = std::fs::metadata(directory).map_err(|e| e.to_string())?.permissions().mode();
    // A sticky directory such as /tmp lets only owners replace files.
    if mode & 0o002 != 0 && mode & 0o1000 == 0 {
        return Err("the directory can be written by everybody".into());
    }
    Ok(())
}

/// `#define`s as expressions.
struct CMacros<'a>(&'a Macros);

impl Defines for CMacros<'_> {
    fn expand(&self, name: &str, args: Option<&[String]>, span: Span) -> Option<Result<ast::Expr, Diagnostic>> {
        let found = self.0.lookup(name)?;
        // A macro with parameters that is not called is no use of the macro, and
        // the other way round.
        if found.params.is_some() != args.is_some() {
            return None;
        }
        let args: Option<Vec<&str>> = args.map(|a| a.iter().map(String::as_str).collect());
        let text = match self.0.expand_to_text(name, args.as_deref(), span) {
            Ok(text) => text,
            Err(d) => return Some(Err(*d)),
        };
        // A name that stands for itself must not be looked up for ever.
        if text.trim() == name {
            return None;
        }
        let mut problems = Diagnostics::default();
        let options = ParseOptions { is_value: &is_value };
        Some(match parse_expression(&text, span, &options, &mut problems) {
            Some(e) => Ok(e),
            None => Err(Diagnostic::error("E0333", format!("`{name}` does not expand to an expression"))
                .at(span, format!("expands to `{}`", text.trim()))),
        })
    }
}
