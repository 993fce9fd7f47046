//! Functions and static probes of ELF files.
//!
//! In: the path of a binary. Out: names of its functions, from both symbol
//! tables, and (provider, name) of its static probes.

use anyhow::{Context, Result};
use btc_payload::binary::Notes;
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};
use std::collections::BTreeSet;
use std::path::Path;

/// Type of SystemTap's notes (`_SDT_NOTE_TYPE` of sys/sdt.h).
const NOTE_TYPE: u32 = 3;

/// Functions that the file defines.
pub(super) fn functions(path: &Path) -> Result<BTreeSet<String>> {
    let bytes = read(path)?;
    let elf = object::File::parse(&*bytes).with_context(|| format!("{} is no ELF file", path.display()))?;
    let defined = |s: &object::Symbol<'_, '_>| s.kind() == SymbolKind::Text && s.address() != 0 && !s.is_undefined();
    let name = |s: object::Symbol<'_, '_>| s.name().ok().filter(|n| !n.is_empty()).map(str::to_owned);
    let mut found: BTreeSet<String> =
        elf.symbols().chain(elf.dynamic_symbols()).filter(defined).filter_map(name).collect();
    if elf.symbols().next().is_none() {
        for bytes in symbols_elsewhere(&elf) {
            if let Ok(debug) = object::File::parse(&*bytes) {
                found.extend(debug.symbols().filter(defined).filter_map(name));
            }
        }
    }
    Ok(found)
}

/// Where tracers find the symbols of a stripped binary: in its debug file, and packed
/// in the binary itself.
fn symbols_elsewhere(elf: &object::File<'_>) -> Vec<Vec<u8>> {
    let id = elf.build_id().ok().flatten().unwrap_or_default();
    let hex: String = id.iter().map(|b| format!("{b:02x}")).collect();
    let installed = hex
        .split_at_checked(2)
        .and_then(|(first, rest)| std::fs::read(format!("/usr/lib/debug/.build-id/{first}/{rest}.debug")).ok());
    let packed = elf.section_by_name(".gnu_debugdata").and_then(|s| btc_payload::xz::unpack(s.data().ok()?));
    installed.into_iter().chain(packed).collect()
}

/// Static probes that the file describes in its notes.
pub(super) fn static_probes(path: &Path) -> Result<BTreeSet<(String, String)>> {
    let bytes = read(path)?;
    let elf = object::File::parse(&*bytes).with_context(|| format!("{} is no ELF file", path.display()))?;
    let Some(section) = elf.section_by_name(".note.stapsdt") else { return Ok(BTreeSet::new()) };
    let notes = section.data().with_context(|| format!("cannot read the notes of {}", path.display()))?;
    Ok(parse_notes(notes))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// A description is three addresses, then provider, name and arguments, each
/// ended by a zero byte.
fn parse_notes(bytes: &[u8]) -> BTreeSet<(String, String)> {
    let probes = Notes(bytes).filter(|n| n.kind == NOTE_TYPE && n.name == b"stapsdt\0");
    let names = |content: &[u8]| {
        let mut texts = content.get(24..)?.split(|&b| b == 0).map(|t| String::from_utf8_lossy(t).into_owned());
        Some((texts.next()?, texts.next()?))
    };
    probes.filter_map(|n| names(n.content)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_taken_apart() {
        let mut description = vec![0u8; 24];
        description.extend(b"prov\0probe\0-4@%edi\0");
        let mut note = Vec::new();
        for word in [8, description.len() as u32, NOTE_TYPE] {
            note.extend(word.to_le_bytes());
        }
        note.extend(b"stapsdt\0");
        note.extend(&description);
        note.resize(note.len().next_multiple_of(4), 0);
        let twice = [note.clone(), note.clone()].concat();
        assert_eq!(parse_notes(&twice), BTreeSet::from([("prov".to_string(), "probe".to_string())]));
        assert!(parse_notes(&note[..30]).is_empty());
    }

    #[test]
    fn the_running_test_has_functions() {
        let own = functions(&std::env::current_exe().unwrap()).unwrap();
        assert!(own.contains("main"));
    }
}
