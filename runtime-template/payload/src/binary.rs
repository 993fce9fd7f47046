//! Which build of a binary something was compiled for.
//!
//! In: notes and code of an ELF file. Out: an identity that two sides compare.
//! Arguments and source lines of uprobes come from debug information that is
//! read while compiling; on the target they hold for the very same build only.

use serde::{Deserialize, Serialize};
use std::fmt;

/// `NT_GNU_BUILD_ID` of elf.h.
const BUILD_ID: u32 = 3;

/// Identity of a build.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BinaryId {
    /// The linker's own.
    BuildId(Vec<u8>),
    /// FNV-1a over the executable segments, where the linker left no build id.
    Code(u64),
}

impl BinaryId {
    /// The identity: from the first of `notes` (contents of note segments) that
    /// has one, else from `code`, the contents of the executable segments.
    pub fn of<'a>(notes: impl Iterator<Item = &'a [u8]>, code: impl Iterator<Item = &'a [u8]>) -> BinaryId {
        let id = notes.flat_map(Notes).find(|n| n.kind == BUILD_ID && n.name == b"GNU\0");
        match id {
            Some(n) => BinaryId::BuildId(n.content.to_vec()),
            None => BinaryId::Code(code.fold(FNV_START, fnv)),
        }
    }
}

/// Where [`fnv`] begins.
pub(crate) const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a over 64 bits, begun or gone on with: finds differences, not malice.
pub(crate) fn fnv(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

impl fmt::Display for BinaryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BinaryId::BuildId(id) => id.iter().try_for_each(|b| write!(f, "{b:02x}")),
            BinaryId::Code(hash) => write!(f, "code {hash:016x}"),
        }
    }
}

/// A note of an ELF file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    /// Who defines it, with its NUL.
    pub name: &'a [u8],
    /// What it is.
    pub kind: u32,
    /// What it says.
    pub content: &'a [u8],
}

/// The notes of a section or segment; ends at what cannot be one.
pub struct Notes<'a>(pub &'a [u8]);

impl<'a> Iterator for Notes<'a> {
    type Item = Note<'a>;

    /// Three words, then name and content, both padded to four bytes.
    fn next(&mut self) -> Option<Note<'a>> {
        let bytes = self.0;
        let word = |at: usize| bytes.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let (name, size, kind) = (word(0)? as usize, word(4)? as usize, word(8)?);
        let start = 12 + name.saturating_add(3) / 4 * 4;
        let content = bytes.get(start..start.checked_add(size)?)?;
        self.0 = bytes.get(start + size.saturating_add(3) / 4 * 4..).unwrap_or(&[]);
        Some(Note { name: bytes.get(12..12 + name)?, kind, content })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(name: &[u8], kind: u32, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for w in [name.len() as u32, content.len() as u32, kind] {
            out.extend(w.to_le_bytes());
        }
        for part in [name, content] {
            out.extend(part);
            out.resize(out.len().next_multiple_of(4), 0);
        }
        out
    }

    #[test]
    fn build_ids_come_first() {
        let section = [note(b"GNU\0", 1, &[0; 16]), note(b"Go\0\0", 3, b"x"), note(b"GNU\0", 3, &[0xab, 1])].concat();
        let id = |notes: &[u8], code: &[u8]| BinaryId::of([notes].into_iter(), [code].into_iter());
        assert_eq!(id(&section, b"").to_string(), "ab01");
        assert_eq!(id(b"", b"ab"), BinaryId::of([].into_iter(), [b"a".as_slice(), b"b"].into_iter()));
        assert_ne!(id(b"", b"ab"), id(b"", b"ac"));
        for cut in 0..section.len() {
            let _ = id(&section[..cut], b"");
        }
    }
}
