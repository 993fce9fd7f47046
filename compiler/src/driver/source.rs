//! From the script's text and what it imports to one expanded syntax tree.
//!
//! In: the script, `-I`, `--include`, the type store. Out: the tree without
//! macros, with the C types in the store; the tree as parsed, for `--emit ast`.
//! An import is read once, whatever the number of its mentions.

use super::facts::Headers;
use super::{Failure, Request};
use crate::btf::reference::Reference;
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
    let mut reader = Reader { c: CFrontEnd::new(types, options), sources, diagnostics, imported: BTreeSet::new() };
    for header in &request.includes {
        reader.c.include(reader.sources, header);
    }
    let written = reader.script(script, &request.directory());
    let library = reader.library();
    let Reader { c, sources, diagnostics, .. } = reader;
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
    Ok(Tree { written, expanded })
}

struct Reader<'a> {
    c: CFrontEnd<'a>,
    sources: &'a mut SourceMap,
    diagnostics: &'a mut Diagnostics,
    imported: BTreeSet<PathBuf>,
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
            let known = ["bt", "h"].iter().any(|x| file.extension().is_some_and(|e| e == *x));
            if known && self.imported.insert(file.clone()) {
                out.items.extend(self.file(&file, name).items);
            }
        }
        out
    }

    fn file(&mut self, path: &Path, name: &Spanned<String>) -> ast::Script {
        let shown = path.file_name().map_or_else(|| name.value.clone(), |n| n.to_string_lossy().into_owned());
        if shown.ends_with(".c") {
            self.diagnostics.push(
                Diagnostic::error("E0332", "importing C programs is not supported yet")
                    .at(name.span, "a C file")
                    .help(".bt files, .h files and directories of them can be imported"),
            );
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
        if shown.ends_with(".h") {
            self.c.header(self.sources, file);
            return ast::Script::default();
        }
        self.script(file, path.parent().unwrap_or(Path::new(".")))
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
