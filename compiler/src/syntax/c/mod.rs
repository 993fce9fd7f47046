//! The C of scripts and headers: preprocessor and declarations.
//!
//! In: a script, or headers it includes or imports; where headers are found;
//! what the bundled tables know about headers of the kernel and the system.
//! Out: types in the store; macros; the script with its directives blanked, for
//! the parser of the script's own language.
//! Invariants: the blanked text has the same length and the same lines, so every
//! offset in it is one of the script; nothing is read but through the function
//! the caller gives; no input takes unbounded time, memory or stack.
//!
//! The files, in the order in which text passes through them: `skim` finds
//! directives, `files` finds headers, `lex` makes tokens, `directive` obeys,
//! `expand` expands macros, `parse` and its companions (`specifiers`,
//! `declarators`, `attributes`, `operand`) read declarations, `layout` places
//! members, `macros` answers what is left to ask.

use std::path::PathBuf;
use std::rc::Rc;

use crate::ctypes::TypeStore;
use crate::diagnostic::Diagnostic;
use crate::span::{FileId, SourceMap, Span};

mod attributes;
mod constant;
mod declarators;
mod directive;
mod expand;
mod files;
mod layout;
mod lex;
mod macros;
mod operand;
mod parse;
mod skim;
mod specifiers;
mod target;
mod token;

#[cfg(test)]
mod tests;

pub use files::ReadFile;
pub use macros::{MacroDef, Macros};
pub use target::Target;

use expand::{Dynamic, Expander, Macro};
use files::{FileState, Files, Open, directory_of};
use lex::Lexer;
use macros::Tables;
use parse::{Knowledge, Parser};
use skim::Skim;
use token::Token;

/// Messages of one kind of trouble tend to repeat: only so many are kept.
const MOST_PROBLEMS: usize = 100;

/// What is known about headers that are not read: those of the kernel and of
/// the system, whose types BTF has.
pub trait HeaderOracle {
    /// Whether this is such a header (`linux/fs.h`, `errno.h`).
    fn has_header(&self, header: &str) -> bool;

    /// The text of a constant that the header, or what it includes, defines:
    /// a number or a string in C's spelling.
    fn constant(&self, header: &str, name: &str) -> Option<String>;
}

/// Knows no header.
impl HeaderOracle for () {
    fn has_header(&self, _: &str) -> bool {
        false
    }

    fn constant(&self, _: &str, _: &str) -> Option<String> {
        None
    }
}

/// What the user decides.
pub struct Options {
    /// Directories of `-I`, in order.
    pub include_dirs: Vec<PathBuf>,
    /// Directories of the system's headers, searched last; usually none, as
    /// the bundled tables answer instead.
    pub system_dirs: Vec<PathBuf>,
    /// Macros to define beside those of the target, with their texts.
    pub defines: Vec<(String, String)>,
    /// The machine.
    pub target: Target,
    /// Reads a header; an error means that there is none.
    pub read: Rc<ReadFile>,
    /// The bundled tables.
    pub oracle: Rc<dyn HeaderOracle>,
}

/// The C front end of one compilation. Scripts and headers are fed to it one
/// after the other; each sees the macros and types of those before.
pub struct CFrontEnd<'t> {
    store: &'t TypeStore,
    target: Target,
    directories: Rc<[PathBuf]>,
    read: Rc<ReadFile>,
    expander: Expander,
    knowledge: Knowledge,
    tables: Tables,
    state: FileState,
}

/// A script after its preprocessing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preprocessed {
    /// The script with blanks in place of directives and inactive text.
    pub text: String,
    /// The definitions of C types in it, which stay in the text; the types are
    /// in the store already.
    pub definitions: Vec<Span>,
}

impl<'t> CFrontEnd<'t> {
    /// A front end that has read nothing yet; types go into `store`.
    pub fn new(store: &'t TypeStore, options: Options) -> CFrontEnd<'t> {
        let mut expander = Expander::default();
        let own = options.defines.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let all = target::MACROS.iter().chain(options.target.macros).copied().chain(own);
        for (name, text) in all {
            let name = expander.interner.intern(name);
            let new = Macro::predefined(text, &mut expander.interner);
            expander.define(name, new);
        }
        let dynamic = [("__LINE__", Dynamic::Line), ("__FILE__", Dynamic::File), ("__COUNTER__", Dynamic::Counter)];
        for (name, dynamic) in dynamic {
            let name = expander.interner.intern(name);
            let new = Macro { dynamic: Some(dynamic), ..Macro::predefined("", &mut expander.interner) };
            expander.define(name, new);
        }
        CFrontEnd {
            store,
            target: options.target,
            directories: options.include_dirs.into_iter().chain(options.system_dirs).collect(),
            read: options.read,
            expander,
            knowledge: Knowledge::default(),
            tables: Tables { oracle: options.oracle, headers: Vec::new() },
            state: FileState::default(),
        }
    }

    /// Reads a script: obeys its directives, defines its C types.
    pub fn script(&mut self, sources: &mut SourceMap, file: FileId) -> Preprocessed {
        let text: Rc<str> = sources.file(file).text.as_str().into();
        let mut definitions = Vec::new();
        let blanks = self.with_files(sources, file, true, |front, files| {
            front.script_items(files, file, &mut definitions);
        });
        Preprocessed { text: blank(&text, &blanks), definitions }
    }

    /// Reads a header that is in the source map, as for `import "file.h"`.
    pub fn header(&mut self, sources: &mut SourceMap, file: FileId) {
        self.with_files(sources, file, false, |front, files| front.declarations(files, 0));
    }

    /// Reads a header by name, as `--include` does: like `#include "name"` in a
    /// file of the current directory.
    pub fn include(&mut self, sources: &mut SourceMap, name: &str) {
        let line = format!("#include \"{name}\"\n");
        let file = sources.add("<command line>", None, line);
        self.header(sources, file);
    }

    /// The macros, and everything there is to say.
    pub fn finish(mut self) -> (Macros, Vec<Diagnostic>) {
        let mut problems = std::mem::take(&mut self.expander.problems);
        problems.truncate(MOST_PROBLEMS);
        (Macros::new(self.expander, self.tables), problems)
    }

    /// Messages so far; they are not given again.
    pub fn take_diagnostics(&mut self) -> Vec<Diagnostic> {
        let mut problems = std::mem::take(&mut self.expander.problems);
        problems.truncate(MOST_PROBLEMS);
        problems
    }

    /// Opens a file, works on it, closes it; gives the ranges to blank.
    fn with_files(
        &mut self,
        sources: &mut SourceMap,
        file: FileId,
        script: bool,
        work: impl FnOnce(&mut Self, &mut Files<'_>),
    ) -> Vec<(usize, usize)> {
        let source = sources.file(file);
        let directory = source.path.as_deref().map(directory_of).unwrap_or_default();
        let lexer = Lexer::new(source.text.as_str().into(), file);
        let mut files = Files {
            sources,
            read: self.read.clone(),
            directories: self.directories.clone(),
            stack: vec![Open { lexer, directory, found_in: None, conditions: Vec::new() }],
            floor: 0,
            script,
            skim: Skim::new(script),
            blanks: Vec::new(),
            tables: self.tables.clone(),
            state: std::mem::take(&mut self.state),
        };
        work(self, &mut files);
        while !files.stack.is_empty() {
            files.close(&mut self.expander);
        }
        self.expander.forget_pending();
        self.state = files.state;
        self.tables = files.tables;
        files.blanks
    }

    /// Parses the files above the first `floor` as C.
    fn declarations(&mut self, files: &mut Files<'_>, floor: usize) {
        let before = std::mem::replace(&mut files.floor, floor);
        self.parser(files).file();
        files.floor = before;
    }

    fn parser<'p, 's>(&'p mut self, files: &'p mut Files<'s>) -> Parser<'p, 's> {
        Parser::new(self.store, &mut self.expander, files, &mut self.knowledge, &self.target)
    }

    /// Walks over a script: directives and C definitions are done, all else is
    /// stepped over.
    fn script_items(&mut self, files: &mut Files<'_>, file: FileId, definitions: &mut Vec<Span>) {
        first_line(files);
        loop {
            let Some(open) = files.stack.first_mut() else { return };
            let (text, pos) = (open.lexer.text.clone(), open.lexer.pos);
            let Some(&b) = text.as_bytes().get(pos) else { return };
            if b == b'#' && files.skim.line_start {
                open.lexer.pos = pos + 1;
                let hash = Span::new(file, pos as u32, pos as u32 + 1);
                self.script_directive(files, hash);
                continue;
            }
            match starts_definition(&text, pos).filter(|_| files.skim.item_start) {
                Some(true) => definitions.push(self.definition(files, file, pos)),
                Some(false) => {
                    let span = self.definition(files, file, pos);
                    files.blanks.push((pos, span.end as usize));
                }
                None => open.lexer.pos = files.skim.step(&text, pos),
            }
        }
    }

    fn script_directive(&mut self, files: &mut Files<'_>, hash: Span) {
        let pack = files.directive(hash, &mut self.expander);
        if let Some(pack) = pack {
            self.parser(files).pack(pack);
        }
        // A header that was included is read to its end before the script goes on.
        if files.stack.len() > 1 {
            self.declarations(files, 1);
        }
    }

    /// Parses the C definition at `pos`, and leaves the script behind it.
    fn definition(&mut self, files: &mut Files<'_>, file: FileId, pos: usize) -> Span {
        let mut parser = self.parser(files);
        parser.external();
        let untaken = parser.untaken();
        let end = parser.last;
        self.expander.forget_pending();
        // A header included inside the definition that the definition's end
        // did not use up cannot be continued.
        files.stack.truncate(1);
        if let Some(open) = files.stack.first_mut() {
            let back = untaken.filter(|t: &Token| t.span.file == file && t.span.start as usize > pos);
            open.lexer.pos = match back {
                Some(token) => token.span.start as usize,
                None => open.lexer.pos.max(pos + 1),
            };
            open.lexer.at_line_start = false;
        }
        files.skim.after_definition();
        let end = if end.file == file { end.end } else { pos as u32 };
        Span::new(file, pos as u32, end.max(pos as u32))
    }
}

/// `#!` makes a line a comment.
fn first_line(files: &mut Files<'_>) {
    let Some(open) = files.stack.first_mut() else { return };
    if let Some(line) = super::shebang(&open.lexer.text) {
        open.lexer.pos = line.end;
        files.blanks.push((line.start, line.end));
    }
}

/// Words that begin C declarations in scripts, and whether the script's own
/// grammar knows them: the others are blanked.
const DEFINITION_WORDS: &[(&str, bool)] = &[
    ("struct", true),
    ("union", true),
    ("enum", true),
    ("typedef", true),
    ("extern", false),
    ("static", false),
    ("inline", false),
    ("_Static_assert", false),
    ("__extension__", false),
];

/// Whether a C declaration begins at `pos`, and whether it stays in the text.
fn starts_definition(text: &str, pos: usize) -> Option<bool> {
    let bytes = text.as_bytes();
    if !lex::is_name_start(bytes[pos]) {
        return None;
    }
    let word = &text[pos..skim::name_end(bytes, pos)];
    DEFINITION_WORDS.iter().find(|row| row.0 == word).map(|row| row.1)
}

/// The text with blanks in the ranges; line ends stay.
fn blank(text: &str, ranges: &[(usize, usize)]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for &(start, end) in ranges {
        let end = end.min(bytes.len());
        for b in bytes.get_mut(start..end).unwrap_or(&mut []) {
            if *b != b'\n' {
                *b = b' ';
            }
        }
    }
    // Ranges begin and end at line ends or ASCII characters: this is UTF-8.
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}
