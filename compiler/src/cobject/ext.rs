//! Reads `.BTF.ext`: source lines and CO-RE relocations of another compiler's code.
//!
//! In: the bytes of the section, the BTF with its strings. Out: records of one code
//! section (include/uapi/linux/btf.h, Documentation/bpf/btf.rst, Linux 6.12). Damage
//! gives fewer records, never a panic.

use crate::btf::Btf;

/// Offset in the header of the two words that place each subsection.
const LINES: usize = 16;
const RELOCATIONS: usize = 24;
/// Columns share a word with the line, of which they take the lower bits.
const COLUMN_BITS: u32 = 10;

/// A source line, by offset in the section.
pub(super) struct LineRecord {
    pub(super) offset: u32,
    pub(super) file: String,
    pub(super) text: String,
    pub(super) line: u32,
    pub(super) column: u32,
}

/// A CO-RE relocation, by offset in the section.
pub(super) struct RelocationRecord {
    pub(super) offset: u32,
    pub(super) root: u32,
    pub(super) access: String,
    pub(super) kind: u32,
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// The first four words of every record that a subsection has for `section`.
fn records(btf: &Btf, ext: &[u8], place: usize, section: &str) -> Vec<[u32; 4]> {
    collect(btf, ext, place, section).unwrap_or_default()
}

fn collect(btf: &Btf, ext: &[u8], place: usize, section: &str) -> Option<Vec<[u32; 4]>> {
    let header = word(ext, 4)? as usize;
    // Headers of old producers end before the relocations.
    if header < place + 8 {
        return None;
    }
    let (start, length) = (word(ext, place)? as usize, word(ext, place + 4)? as usize);
    let part = ext.get(header.checked_add(start)?..header.checked_add(start)?.checked_add(length)?)?;
    let size = word(part, 0)? as usize;
    let (mut at, mut out) = (4, Vec::new());
    while let (Some(name), Some(count)) = (word(part, at), word(part, at + 4)) {
        at += 8;
        for _ in 0..count {
            let record = [word(part, at)?, word(part, at + 4)?, word(part, at + 8)?, word(part, at + 12)?];
            if btf.string(name) == section {
                out.push(record);
            }
            at = at.checked_add(size.max(4))?;
        }
    }
    Some(out)
}

/// Source lines of a section.
pub(super) fn lines(btf: &Btf, ext: &[u8], section: &str) -> Vec<LineRecord> {
    let record = |[offset, file, text, place]: [u32; 4]| LineRecord {
        offset,
        // Without directories: where a file was compiled is nobody's business.
        file: btf.string(file).rsplit('/').next().unwrap_or("").to_string(),
        text: btf.string(text).trim().to_string(),
        line: place >> COLUMN_BITS,
        column: place & ((1 << COLUMN_BITS) - 1),
    };
    records(btf, ext, LINES, section).into_iter().map(record).collect()
}

/// CO-RE relocations of a section.
pub(super) fn relocations(btf: &Btf, ext: &[u8], section: &str) -> Vec<RelocationRecord> {
    let record = |[offset, root, access, kind]: [u32; 4]| RelocationRecord {
        offset,
        root,
        access: btf.string(access).to_string(),
        kind,
    };
    records(btf, ext, RELOCATIONS, section).into_iter().map(record).collect()
}
