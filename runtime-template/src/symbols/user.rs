//! User addresses to names, by blazesym.
//!
//! In: process id and address. Out: symbol, offset, module. The symbolizer is
//! made when the first address comes. What a process maps is remembered when it
//! is first seen, and so are answers: what ran while the tracer did still has
//! names when it is gone.

use super::debugfile;
use crate::settings::Settings;
use crate::target::files;
use blazesym::symbolize::source::{Elf, Process, Source};
use blazesym::symbolize::{CodeInfo, Input, Sym, Symbolized, Symbolizer};
use std::collections::HashMap;

/// A resolved user address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserSymbol {
    /// Name, demangled if wanted.
    pub name: Option<Box<str>>,
    /// Distance from the symbol's start.
    pub offset: u64,
    /// File that is mapped there.
    pub module: Option<Box<str>>,
    /// `file:line`, where that was asked for and is known.
    pub line: Option<Box<str>>,
    /// Functions that were inlined there, innermost first: name and line of the call.
    pub inlined: Vec<(Box<str>, Option<Box<str>>)>,
}

/// A part of a file that a process maps for execution.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mapping {
    start: u64,
    end: u64,
    offset: u64,
    path: Box<str>,
}

/// See the head of this file.
#[derive(Default)]
pub struct UserSymbols {
    symbolizer: Option<Symbolizer>,
    answers: HashMap<(u32, u64), UserSymbol>,
    processes: HashMap<u32, Vec<Mapping>>,
    /// Where the probed programs lie that are linked to fixed addresses: of processes
    /// that ended before they were looked at.
    fixed: Vec<Mapping>,
    /// Separate debug files of stripped ones.
    debug_files: debugfile::DebugFiles,
    /// Read debug information for lines and inlined functions?
    lines: bool,
    /// Show C++ and Rust names as written in the source?
    demangle: bool,
    /// Resolve at all?
    enabled: bool,
}

impl UserSymbols {
    /// Nothing resolved yet.
    pub fn new(settings: &Settings, debug_dirs: Vec<String>) -> UserSymbols {
        UserSymbols {
            enabled: settings.is("user_symbols"),
            demangle: settings.is("cpp_demangle"),
            lines: settings.is("show_debug_info"),
            debug_files: debugfile::DebugFiles::new(debug_dirs),
            ..UserSymbols::default()
        }
    }

    /// Symbol of an address of a process.
    pub fn resolve(&mut self, pid: u32, address: u64) -> UserSymbol {
        if !self.enabled {
            return UserSymbol::default();
        }
        if let Some(known) = self.answers.get(&(pid, address)) {
            return known.clone();
        }
        let found = self.look_up(pid, address);
        self.answers.insert((pid, address), found.clone());
        found
    }

    /// Is it known what a process maps?
    pub fn knows(&self, pid: u32) -> bool {
        self.processes.contains_key(&pid)
    }

    /// Notes what a process maps now; nothing is forgotten when it is gone.
    pub fn remember(&mut self, pid: u32) {
        let mappings = read_mappings(pid);
        if !mappings.is_empty() || !self.knows(pid) {
            self.processes.insert(pid, mappings);
        }
    }

    fn mapping(&mut self, pid: u32, address: u64) -> Option<Mapping> {
        let find = |m: &Vec<Mapping>| m.iter().find(|m| (m.start..m.end).contains(&address)).cloned();
        if let Some(found) = self.processes.get(&pid).and_then(find) {
            return Some(found);
        }
        // Never looked at, or mapped since.
        self.remember(pid);
        match self.processes.get(&pid) {
            Some(known) if !known.is_empty() => find(known),
            _ => find(&self.fixed),
        }
    }

    /// Notes a probed file; only one with fixed addresses says where its code lies.
    pub fn probed(&mut self, path: &str) {
        use goblin::elf::{Elf, header::ET_EXEC, program_header::PF_X};
        if self.fixed.iter().any(|m| &*m.path == path) {
            return;
        }
        let Ok(file) = files::Mapped::open(path) else { return };
        let Ok(elf) = Elf::parse(&file) else { return };
        let code = elf.program_headers.iter().filter(|p| elf.header.e_type == ET_EXEC && p.p_flags & PF_X != 0);
        self.fixed.extend(code.map(|p| Mapping {
            start: p.p_vaddr,
            end: p.p_vaddr.saturating_add(p.p_filesz),
            offset: p.p_offset,
            path: path.into(),
        }));
    }

    fn look_up(&mut self, pid: u32, address: u64) -> UserSymbol {
        let mapping = self.mapping(pid, address);
        let (lines, demangle) = (self.lines, self.demangle);
        let builder = || Symbolizer::builder().enable_code_info(lines).enable_inlined_fns(lines).build();
        let symbolizer = self.symbolizer.get_or_insert_with(builder);
        let mut found = UserSymbol::default();
        if let Some(m) = &mapping {
            let offset = address - m.start + m.offset;
            // A stripped file has names in another one, at the same addresses.
            let (path, input) = match self.debug_files.of(&m.path) {
                Some(debug) => (&*debug.path, debug.address(offset).map(Input::VirtOffset)),
                None => (&*m.path, Some(Input::FileOffset(offset))),
            };
            // Debug information may be unreadable (compressed, say), symbols are not.
            for debug_syms in [true, false].into_iter().skip(usize::from(!lines)) {
                let source = Source::Elf(Elf { debug_syms, ..Elf::new(path) });
                if let Some(Ok(Symbolized::Sym(sym))) = input.map(|i| symbolizer.symbolize_single(&source, i)) {
                    found = taken(&sym, demangle);
                    break;
                }
            }
        } else {
            // No file: code made at run time, which only the process knows.
            let source = Source::Process(Process::new(pid.into()));
            if let Ok(Symbolized::Sym(sym)) = symbolizer.symbolize_single(&source, Input::AbsAddr(address)) {
                found = taken(&sym, demangle);
            }
        }
        found.module = mapping.map(|m| files::shown(&m.path).into());
        found
    }
}

/// What a symbolizer found.
fn taken(sym: &Sym<'_>, demangle: bool) -> UserSymbol {
    let shown =
        |name: &str| -> Box<str> { if demangle { super::demangle::demangle(name).into() } else { name.into() } };
    let line = |c: &CodeInfo<'_>| -> Box<str> { format!("{}:{}", c.to_path().display(), c.line.unwrap_or(0)).into() };
    // They come in the order in which they call one another.
    let inlined = sym.inlined.iter().rev().map(|f| (shown(&f.name), f.code_info.as_ref().map(line)));
    UserSymbol {
        name: Some(shown(&sym.name)),
        offset: sym.offset as u64,
        module: None,
        line: sym.code_info.as_deref().map(line),
        inlined: inlined.collect(),
    }
}

/// Executable mappings of files; empty when the process is gone.
fn read_mappings(pid: u32) -> Vec<Mapping> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let root = format!("/proc/{pid}/root");
    // Paths are those of the process; only where its root is another one must
    // they be reached through it, and then not after its end.
    let root = if files::other_root(&root) { root } else { String::new() };
    text.lines().filter_map(|l| parse_mapping(l, &root)).collect()
}

/// Parses `start-end perms offset device inode path`.
fn parse_mapping(line: &str, root: &str) -> Option<Mapping> {
    let mut parts = line.split_ascii_whitespace();
    let (start, end) = parts.next()?.split_once('-')?;
    let executable = parts.next()?.contains('x');
    let offset = u64::from_str_radix(parts.next()?, 16).ok()?;
    let path = parts.nth(2).filter(|p| p.starts_with('/') && executable)?;
    Some(Mapping {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        offset,
        path: format!("{root}{path}").into(),
    })
}

impl UserSymbols {
    /// Build id of the file that a process maps at an address, and the offset in that file.
    pub fn build_id(&mut self, pid: u32, address: u64) -> Option<(Vec<u8>, u64)> {
        let m = self.mapping(pid, address)?;
        let file = files::Mapped::open(&m.path).ok()?;
        let elf = goblin::elf::Elf::parse(&file).ok()?;
        let note = elf.iter_note_headers(&file)?.flatten().find(|n| n.n_type == goblin::elf::note::NT_GNU_BUILD_ID)?;
        Some((note.desc.to_vec(), address - m.start + m.offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn some_function() -> u64 {
        std::hint::black_box(some_function as fn() -> u64 as usize as u64)
    }

    #[test]
    fn lines_of_maps() {
        let m = parse_mapping("1000-2000 r-xp 00000400 fd:01 12 /bin/x", "").unwrap();
        assert_eq!((m.start, m.end, m.offset, &*m.path), (0x1000, 0x2000, 0x400, "/bin/x"));
        assert_eq!(parse_mapping("1000-2000 rw-p 00000400 fd:01 12 /bin/x", ""), None);
        assert_eq!(parse_mapping("1000-2000 r-xp 00000000 00:00 0 [vdso]", ""), None);
    }

    #[test]
    fn own_functions_have_names() {
        let mut symbols = UserSymbols { enabled: true, demangle: true, ..UserSymbols::default() };
        let found = symbols.resolve(std::process::id(), some_function());
        assert!(found.name.is_some_and(|n| n.contains("some_function")), "own symbols are there");
        assert_eq!(found.offset, 0);
        assert!(UserSymbols::default().resolve(1, 2).name.is_none());
    }
}
