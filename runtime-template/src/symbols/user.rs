//! User addresses to names, by blazesym.
//!
//! In: process id and address. Out: symbol, offset, module, and what debug information
//! tells, of the file itself or of the one in /usr/lib/debug. The symbolizer is
//! made when the first address comes. What a process maps is remembered when it
//! is first seen, and so are answers: what ran while the tracer did still has
//! names when it is gone.

use crate::target::files;
use blazesym::symbolize::source::{Elf, Process, Source};
use blazesym::symbolize::{CodeInfo, Input, Sym, Symbolized, Symbolizer};
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

/// A resolved user address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserSymbol {
    /// Name, demangled if wanted.
    pub name: Option<Box<str>>,
    /// Distance from the symbol's start.
    pub offset: u64,
    /// File that is mapped there.
    pub module: Option<Box<str>>,
    /// Where in the source, as `FILE:LINE`.
    pub place: Option<Box<str>>,
    /// Functions that were inlined there, outermost first: name, and where in the
    /// source they were called.
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
    /// The same with debug information.
    detailed: Option<Symbolizer>,
    /// By process, address, and whether source lines were asked for.
    answers: HashMap<(u32, u64, bool), Rc<UserSymbol>>,
    processes: HashMap<u32, Vec<Mapping>>,
    /// Where the probed programs lie that are linked to fixed addresses: of processes
    /// that ended before they were looked at.
    fixed: Vec<Mapping>,
    /// Show C++ and Rust names as written in the source?
    demangle: bool,
    /// Read debug information: source lines and inlined functions?
    debug_info: bool,
    /// Where debug files are looked for, if not in the usual places.
    debug_dirs: Option<Vec<PathBuf>>,
    /// Resolve at all?
    enabled: bool,
}

impl UserSymbols {
    /// Nothing resolved yet.
    pub fn new(enabled: bool, demangle: bool, debug_info: bool) -> UserSymbols {
        UserSymbols { enabled, demangle, debug_info, ..UserSymbols::default() }
    }

    /// Looks for debug files also in these directories, and there first.
    pub fn search(&mut self, dirs: &[PathBuf]) {
        let usual = ["/usr/lib/debug", "/lib/debug"].map(PathBuf::from);
        self.debug_dirs = (!dirs.is_empty()).then(|| dirs.iter().cloned().chain(usual).collect());
    }

    /// The name of an address of a process.
    pub fn name(&mut self, pid: u32, address: u64) -> Rc<UserSymbol> {
        self.resolve(pid, address, false)
    }

    /// All that is known of an address on a stack.
    pub fn frame(&mut self, pid: u32, address: u64) -> Rc<UserSymbol> {
        self.resolve(pid, address, self.debug_info)
    }

    fn resolve(&mut self, pid: u32, address: u64, lines: bool) -> Rc<UserSymbol> {
        if !self.enabled {
            return Rc::default();
        }
        if let Some(known) = self.answers.get(&(pid, address, lines)) {
            return known.clone();
        }
        let found = Rc::new(self.look_up(pid, address, lines));
        self.answers.insert((pid, address, lines), found.clone());
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

    fn look_up(&mut self, pid: u32, address: u64, lines: bool) -> UserSymbol {
        let mapping = self.mapping(pid, address);
        let named = self.symbolizer.get_or_insert_with(|| symbolizer(false, None));
        let mut found = ask(named, mapping.as_ref(), pid, address, false)
            .map_or_else(UserSymbol::default, |sym| describe(&sym, self.demangle));
        // Debug files may name what a stripped program does not.
        if lines || self.debug_info && found.name.is_none() {
            let detailed = self.detailed.get_or_insert_with(|| symbolizer(true, self.debug_dirs.as_deref()));
            let detailed = ask(detailed, mapping.as_ref(), pid, address, true);
            let detailed = detailed.map_or_else(UserSymbol::default, |sym| describe(&sym, self.demangle));
            // The file's own name wins: of several for one place, debug files have
            // those first that only the compiler used.
            found = match found.name {
                Some(_) => UserSymbol { place: detailed.place, inlined: detailed.inlined, ..found },
                None => detailed,
            };
        }
        found.module = mapping.map(|m| files::shown(&m.path).into());
        found
    }
}

/// With or without debug information: each has a symbolizer of its own, since that
/// remembers files as they were first opened.
fn symbolizer(debug_info: bool, dirs: Option<&[PathBuf]>) -> Symbolizer {
    let builder = Symbolizer::builder().enable_code_info(debug_info).enable_inlined_fns(debug_info);
    builder.set_debug_dirs(dirs).build()
}

/// What a symbolizer says of an address.
fn ask<'a>(
    symbolizer: &'a Symbolizer,
    mapping: Option<&Mapping>,
    pid: u32,
    address: u64,
    debug_info: bool,
) -> Option<Sym<'a>> {
    let (source, input) = match mapping {
        Some(m) => {
            let mut file = Elf::new(&*m.path);
            file.debug_syms = debug_info;
            (Source::Elf(file), Input::FileOffset(address - m.start + m.offset))
        }
        // No file: code made at run time, which only the process knows.
        None => (Source::Process(Process::new(pid.into())), Input::AbsAddr(address)),
    };
    match symbolizer.symbolize_single(&source, input) {
        Ok(Symbolized::Sym(sym)) => Some(sym),
        _ => None,
    }
}

fn describe(sym: &Sym<'_>, demangle: bool) -> UserSymbol {
    let name = |name: &str| if demangle { btc_payload::demangle::demangle(name).into() } else { Box::from(name) };
    UserSymbol {
        name: Some(name(&sym.name)),
        offset: sym.offset as u64,
        module: None,
        place: sym.code_info.as_deref().map(place),
        inlined: sym.inlined.iter().map(|f| (name(&f.name), f.code_info.as_ref().map(place))).collect(),
    }
}

fn place(code: &CodeInfo<'_>) -> Box<str> {
    format!("{}:{}", code.to_path().display(), code.line.unwrap_or(0)).into()
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
        let mut symbols = UserSymbols::new(true, true, true);
        let found = symbols.name(std::process::id(), some_function());
        assert!(found.name.as_ref().is_some_and(|n| n.contains("some_function")), "own symbols are there");
        assert_eq!(found.offset, 0);
        assert!(UserSymbols::new(false, true, true).name(1, 2).name.is_none());
    }
}
