//! Writes `.BTF.ext`: what BTF says about instructions.
//!
//! In: records of functions, source lines and CO-RE relocations, by section.
//! Out: the bytes of the section (include/uapi/linux/btf.h and
//! Documentation/bpf/btf.rst, Linux 6.12).
//! Invariants: sections come in the order in which they were first named, and
//! records in a section in ascending order of instructions, as the kernel and
//! libbpf demand.

use super::raw::MAGIC;

/// Header with all three subsections.
const HEADER_LEN: u32 = 32;

/// One subsection: records of a fixed number of words, grouped by ELF section.
pub(super) struct Subsection<const WORDS: usize> {
    /// Name of the ELF section, and its records.
    sections: Vec<(u32, Vec<[u32; WORDS]>)>,
}

impl<const WORDS: usize> Subsection<WORDS> {
    pub(super) fn new() -> Self {
        Subsection { sections: Vec::new() }
    }

    /// Adds a record; its first word is the offset of the instruction.
    pub(super) fn add(&mut self, section: u32, record: [u32; WORDS]) {
        match self.sections.iter_mut().find(|s| s.0 == section) {
            Some((_, records)) => records.push(record),
            None => self.sections.push((section, vec![record])),
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if self.sections.is_empty() {
            return Vec::new();
        }
        let mut words = vec![4 * WORDS as u32];
        for (name, records) in &mut self.sections {
            records.sort_by_key(|record| record[0]);
            words.extend([*name, records.len() as u32]);
            words.extend(records.iter().flatten());
        }
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

/// The three subsections being filled.
pub(super) struct Ext {
    /// Instruction, type of the function.
    pub(super) functions: Subsection<2>,
    /// Instruction, file name, text of the line, line and column.
    pub(super) lines: Subsection<4>,
    /// Instruction, root type, access string, kind.
    pub(super) relocations: Subsection<4>,
}

impl Ext {
    pub(super) fn new() -> Self {
        Ext { functions: Subsection::new(), lines: Subsection::new(), relocations: Subsection::new() }
    }

    /// The bytes of `.BTF.ext`.
    pub(super) fn finish(self) -> Vec<u8> {
        let parts = [self.functions.finish(), self.lines.finish(), self.relocations.finish()];
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&[1, 0]);
        out.extend_from_slice(&HEADER_LEN.to_le_bytes());
        let mut offset: u32 = 0;
        for part in &parts {
            out.extend_from_slice(&offset.to_le_bytes());
            out.extend_from_slice(&(part.len() as u32).to_le_bytes());
            offset += part.len() as u32;
        }
        out.extend(parts.into_iter().flatten());
        out
    }
}

/// Line and column as the kernel packs them; what does not fit counts as the largest.
pub(super) fn line_and_column(line: u32, column: u32) -> u32 {
    line.min((1 << 22) - 1) << 10 | column.min((1 << 10) - 1)
}
