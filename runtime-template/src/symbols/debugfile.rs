//! Separate debug files of stripped binaries.
//!
//! In: a binary without a symbol table. Out: the file that has it: by build id
//! below the directories of debug files, or by the name in `.gnu_debuglink`, beside
//! the binary, in `.debug` beside it, or below those directories. A file whose build
//! id is another one is not taken.

use crate::target::files;
use goblin::elf::{Elf, note::NT_GNU_BUILD_ID, program_header::PT_LOAD};
use std::collections::HashMap;

/// Where distributions put them.
const SYSTEM: &str = "/usr/lib/debug";

/// A debug file, and what it takes to use it.
pub struct DebugFile {
    /// Its path.
    pub path: Box<str>,
    /// Segments of the stripped binary: offset in the file, size there, address. Those
    /// of the debug file have no contents, so its own offsets mean nothing.
    segments: Vec<(u64, u64, u64)>,
}

impl DebugFile {
    /// The address that an offset in the stripped binary is linked at.
    pub fn address(&self, offset: u64) -> Option<u64> {
        let covers = |s: &&(u64, u64, u64)| (s.0..s.0.saturating_add(s.1)).contains(&offset);
        self.segments.iter().find(covers).map(|s| offset - s.0 + s.2)
    }
}

/// Debug files by the binaries they belong to.
#[derive(Default)]
pub struct DebugFiles {
    directories: Vec<String>,
    known: HashMap<Box<str>, Option<DebugFile>>,
}

impl DebugFiles {
    /// Looks in these directories before the system's.
    pub fn new(mut directories: Vec<String>) -> DebugFiles {
        directories.push(SYSTEM.into());
        DebugFiles { directories, known: HashMap::new() }
    }

    /// The debug file of a binary, if it needs one and has one.
    pub fn of(&mut self, path: &str) -> Option<&DebugFile> {
        if !self.known.contains_key(path) {
            let found = self.find(path);
            self.known.insert(path.into(), found);
        }
        self.known.get(path)?.as_ref()
    }

    fn find(&self, path: &str) -> Option<DebugFile> {
        let file = files::Mapped::open(path).ok()?;
        let elf = Elf::parse(&file).ok()?;
        if !elf.syms.is_empty() {
            return None;
        }
        let id = build_id(&elf, &file);
        let right = |candidate: &String| {
            let same = |other: &[u8]| Some(build_id(&Elf::parse(other).ok()?, other) == id);
            files::Mapped::open(candidate).is_ok_and(|f| same(&f) == Some(true))
        };
        let found = self.candidates(path, &id, debug_link(&elf, &file)).into_iter().find(right)?;
        let loads = elf.program_headers.iter().filter(|p| p.p_type == PT_LOAD);
        Some(DebugFile { path: found.into(), segments: loads.map(|p| (p.p_offset, p.p_filesz, p.p_vaddr)).collect() })
    }

    fn candidates(&self, path: &str, id: &Option<Vec<u8>>, link: Option<String>) -> Vec<String> {
        let mut out = Vec::new();
        if let Some((first, rest)) = id.as_deref().and_then(<[u8]>::split_first) {
            let rest: String = rest.iter().map(|b| format!("{b:02x}")).collect();
            out.extend(self.directories.iter().map(|d| format!("{d}/.build-id/{first:02x}/{rest}.debug")));
        }
        if let (Some(link), Some((dir, _))) = (link, path.rsplit_once('/')) {
            out.push(format!("{dir}/{link}"));
            out.push(format!("{dir}/.debug/{link}"));
            out.extend(self.directories.iter().map(|d| format!("{d}{}/{link}", files::shown(dir))));
            out.extend(self.directories.iter().map(|d| format!("{d}/{link}")));
        }
        // A link may name the binary itself.
        out.retain(|c| c != path);
        out
    }
}

fn build_id(elf: &Elf<'_>, file: &[u8]) -> Option<Vec<u8>> {
    // Of a debug file the segments are empty, the sections are not.
    let note = elf.iter_note_sections(file, None)?.flatten().find(|n| n.n_type == NT_GNU_BUILD_ID)?;
    Some(note.desc.to_vec())
}

fn debug_link(elf: &Elf<'_>, file: &[u8]) -> Option<String> {
    let section = elf.section_headers.iter().find(|s| elf.shdr_strtab.get_at(s.sh_name) == Some(".gnu_debuglink"))?;
    let bytes = file.get(section.file_range()?)?;
    let name = bytes.split(|&b| b == 0).next()?;
    let name = std::str::from_utf8(name).ok()?;
    (!name.is_empty() && !name.contains('/')).then(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_in_order() {
        let files = DebugFiles::new(vec!["/d".into()]);
        let found = files.candidates("/bin/x", &Some(vec![0xab, 0x0c]), Some("x.debug".into()));
        assert_eq!(
            found,
            [
                "/d/.build-id/ab/0c.debug",
                "/usr/lib/debug/.build-id/ab/0c.debug",
                "/bin/x.debug",
                "/bin/.debug/x.debug",
                "/d/bin/x.debug",
                "/usr/lib/debug/bin/x.debug",
                "/d/x.debug",
                "/usr/lib/debug/x.debug"
            ]
        );
        assert!(files.candidates("/bin/x", &None, Some("x".into())).iter().all(|c| c != "/bin/x"));
    }

    #[test]
    fn offsets_become_addresses() {
        let file = DebugFile { path: "".into(), segments: vec![(0, 0x100, 0), (0x1000, 0x200, 0x401000)] };
        assert_eq!(file.address(0x1010), Some(0x401010));
        assert_eq!(file.address(0x500), None);
    }
}
