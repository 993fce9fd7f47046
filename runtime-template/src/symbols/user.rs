//! User addresses to names, by blazesym.
//!
//! In: process id and address. Out: symbol, offset, module. The symbolizer is
//! made when the first address comes; answers are kept per process, so that
//! what was seen while a process lived is still known when it is gone.

use blazesym::symbolize::source::{Process, Source};
use blazesym::symbolize::{Input, Symbolized, Symbolizer};
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
}

/// See the head of this file.
#[derive(Default)]
pub struct UserSymbols {
    symbolizer: Option<Symbolizer>,
    answers: HashMap<(u32, u64), UserSymbol>,
    /// Show C++ and Rust names as written in the source?
    pub demangle: bool,
    /// Resolve at all?
    pub enabled: bool,
}

impl UserSymbols {
    /// Nothing resolved yet.
    pub fn new(enabled: bool, demangle: bool) -> UserSymbols {
        UserSymbols { enabled, demangle, ..UserSymbols::default() }
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

    fn look_up(&mut self, pid: u32, address: u64) -> UserSymbol {
        let symbolizer = self.symbolizer.get_or_insert_with(|| Symbolizer::builder().enable_code_info(false).build());
        let source = Source::Process(Process::new(pid.into()));
        match symbolizer.symbolize_single(&source, Input::AbsAddr(address)) {
            Ok(Symbolized::Sym(sym)) => UserSymbol {
                name: Some(if self.demangle { super::demangle::demangle(&sym.name).into() } else { sym.name.into() }),
                offset: sym.offset as u64,
                module: sym.module.map(|m| m.to_string_lossy().into()),
            },
            _ => UserSymbol::default(),
        }
    }
}

/// Build id of the file that a process maps at an address, and the offset in that file.
pub fn build_id(pid: u32, address: u64) -> Option<(Vec<u8>, u64)> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let (path, offset) = maps.lines().find_map(|l| {
        let mut parts = l.split_ascii_whitespace();
        let (start, end) = parts.next()?.split_once('-')?;
        let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
        let offset = u64::from_str_radix(parts.nth(1)?, 16).ok()?;
        let path = parts.nth(2)?;
        (start..end).contains(&address).then(|| (path.to_string(), address - start + offset))
    })?;
    let file = crate::target::files::Mapped::open(&format!("/proc/{pid}/root{path}")).ok()?;
    let elf = goblin::elf::Elf::parse(&file).ok()?;
    let note = elf.iter_note_headers(&file)?.flatten().find(|n| n.n_type == goblin::elf::note::NT_GNU_BUILD_ID)?;
    Some((note.desc.to_vec(), offset))
}
