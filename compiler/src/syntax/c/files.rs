//! The stack of files being read, and where headers are found.
//!
//! In: file names as `#include` has them, and a way to read files. Out: texts.
//! Invariants: the number of files, their nesting and their total size are
//! bounded; a file is read and numbered once, however often it is included.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::lex::Lexer;
use super::macros::Tables;
use super::skim::Skim;
use super::token::Token;
use crate::span::{FileId, SourceMap, Span};

/// Nesting of includes, as in GCC.
pub(super) const DEEPEST: usize = 200;
/// Includes of one compilation; the largest trees of headers take some 2 000.
pub(super) const MOST_INCLUDES: usize = 20_000;
/// Bytes of all headers together, counted each time they are included.
pub(super) const MOST_BYTES: usize = 256 << 20;

/// Reads a file; the driver decides what that means.
pub type ReadFile = dyn Fn(&Path) -> std::io::Result<Vec<u8>>;

/// An open `#if`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Condition {
    /// Where it stands.
    pub(super) span: Span,
    /// One of its groups was used already.
    pub(super) taken: bool,
    /// `#else` was seen.
    pub(super) last: bool,
}

/// A file on the stack.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) lexer: Lexer,
    /// Directory of the file, for `#include "..."`.
    pub(super) directory: PathBuf,
    /// Number of the search directory it was found in, for `#include_next`.
    pub(super) found_in: Option<usize>,
    pub(super) conditions: Vec<Condition>,
}

/// What an include leads to.
pub(super) enum Found {
    /// A file; it may be one that wants to be read only once.
    File { path: PathBuf, id: FileId, text: Rc<str>, found_in: Option<usize> },
    /// No file has this name.
    Nothing,
    /// A file that cannot be used, and why.
    Unusable(String),
}

/// Everything about files.
pub(super) struct Files<'s> {
    pub(super) sources: &'s mut SourceMap,
    pub(super) read: Rc<ReadFile>,
    /// `-I` directories, then those of the system if they were asked for.
    pub(super) directories: Rc<[PathBuf]>,
    pub(super) stack: Vec<Open>,
    /// How many files of the stack must stay untouched.
    pub(super) floor: usize,
    /// The bottom file is a script: directives are removed from its text.
    pub(super) script: bool,
    /// Where the reading of the script stands.
    pub(super) skim: Skim,
    /// Ranges of the script to be replaced by blanks.
    pub(super) blanks: Vec<(usize, usize)>,
    pub(super) tables: Tables,
    pub(super) state: FileState,
}

/// What outlives the reading of one script.
#[derive(Default)]
pub(super) struct FileState {
    known: HashMap<PathBuf, (FileId, Rc<str>)>,
    pub(super) once: HashSet<FileId>,
    includes: usize,
    bytes: usize,
    /// The text that defines the macros of kernel headers, once it was read.
    pub(super) kernel_macros: Option<FileId>,
}

impl Files<'_> {
    /// Looks a header up: beside the file that includes it if `quoted`, then in
    /// the search directories from number `from` on.
    pub(super) fn search(&mut self, name: &str, quoted: bool, from: usize) -> Found {
        let beside = self.stack.last().map(|open| open.directory.join(name));
        if let Some(path) = beside.filter(|_| quoted && from == 0) {
            match self.load(&path, None) {
                Found::Nothing => {}
                found => return found,
            }
        }
        let directories = self.directories.clone();
        for (i, directory) in directories.iter().enumerate().skip(from) {
            match self.load(&directory.join(name), Some(i)) {
                Found::Nothing => {}
                found => return found,
            }
        }
        Found::Nothing
    }

    fn load(&mut self, path: &Path, found_in: Option<usize>) -> Found {
        let path = normal(path);
        if let Some((id, text)) = self.state.known.get(&path) {
            return Found::File { path, id: *id, text: text.clone(), found_in };
        }
        let bytes = match (self.read)(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return Found::Unusable(format!("{}: {error}", path.display()));
            }
            Err(_) => return Found::Nothing, // missing, or a directory
        };
        if bytes.len() > MOST_BYTES {
            return Found::Unusable(format!("{} is larger than 256 MiB", path.display()));
        }
        let text: Rc<str> = String::from_utf8_lossy(&bytes).into();
        let id = self.sources.add(path.display().to_string(), Some(&path), text.to_string());
        self.state.known.insert(path.clone(), (id, text.clone()));
        Found::File { path, id, text, found_in }
    }

    /// Starts reading a header; says why not if it is one too many.
    pub(super) fn enter(
        &mut self,
        path: &Path,
        id: FileId,
        text: Rc<str>,
        found_in: Option<usize>,
    ) -> Result<(), String> {
        self.state.includes += 1;
        self.state.bytes += text.len();
        if self.stack.len() >= DEEPEST {
            return Err(format!("files include each other {DEEPEST} deep"));
        }
        if self.state.includes > MOST_INCLUDES || self.state.bytes > MOST_BYTES {
            return Err(format!("more than {MOST_INCLUDES} files or 256 MiB are included"));
        }
        self.stack.push(Open {
            lexer: Lexer::new(text, id),
            directory: directory_of(path),
            found_in,
            conditions: Vec::new(),
        });
        Ok(())
    }

    /// Name and line of a place.
    pub(super) fn place_of(&self, span: Span) -> (String, u32) {
        let file = self.sources.file(span.file);
        (file.name.clone(), file.position(span.start).line)
    }

    /// A token that marks the end of the file being read.
    pub(super) fn end(&self) -> Token {
        let span = self.stack.last().map_or(Span::default(), |open| {
            let pos = open.lexer.pos as u32;
            Span::new(open.lexer.file, pos, pos)
        });
        Token::end(span)
    }
}

/// The directory a file's own includes start from.
pub(super) fn directory_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// A path without `.` and, where that is safe to say, without `x/..`.
fn normal(path: &Path) -> PathBuf {
    path.components().filter(|c| !matches!(c, std::path::Component::CurDir)).collect()
}
