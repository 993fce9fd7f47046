//! Static user probes: places that a binary describes in its notes.
//!
//! In: a path, provider and name, or patterns. Out: file offsets with the
//! semaphores that switch the probes on; the kernel counts those itself, in
//! every process that maps the file. A probe may have several places.

use super::uprobe::{address_in, code_offset, data_offset, section};
use super::usdt_args::parse as parse_argument;
use super::{Found, How};
use crate::context::Context;
use crate::target::files;
use anyhow::{Context as _, Result};
use btc_payload::binary::Notes;
use btc_payload::probe::{Text, pattern_matches};
use goblin::elf::Elf;

/// Type of SystemTap's notes (`_SDT_NOTE_TYPE`).
const NOTE_TYPE: u32 = 3;

/// A place from a note.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    address: u64,
    /// Address of `.stapsdt.base` when the note was written.
    base: u64,
    semaphore: u64,
    provider: String,
    name: String,
    /// Where they lie, separated by blanks.
    arguments: String,
}

/// Resolves paths, providers and names.
pub fn expand(context: &Context<'_>, path: &Text, provider: Option<&Text>, name: &Text) -> Result<Vec<Found>> {
    let written = context.text(path)?;
    let provider = provider.map(|p| context.text(p)).transpose()?;
    let name = context.text(name)?;
    let mut found = Vec::new();
    for path in context.binaries(&written)? {
        let file = files::Mapped::open(&path)?;
        let elf = Elf::parse(&file).with_context(|| format!("{path} is no ELF file"))?;
        let matching = places(&elf, &file).into_iter().filter(|p| {
            provider.as_ref().is_none_or(|wanted| pattern_matches(wanted, &p.provider))
                && pattern_matches(&name, &p.name)
        });
        for p in matching {
            let what = format!("{}:{}", p.provider, p.name);
            let Some(offset) = code_offset(&elf, p.address) else { continue };
            let symbol = |name: &str| address_in(&elf, name).map(|s| s.0);
            let argument = |text: &str| parse_argument(text, symbol, p.address).ok_or_else(|| text.to_string());
            let arguments = p.arguments.split_ascii_whitespace().map(argument).collect();
            let semaphore = if p.semaphore == 0 { 0 } else { data_offset(&elf, p.semaphore).unwrap_or(0) };
            found.push(Found {
                probe: format!("usdt:{}:{what}", files::shown(&path)),
                function: p.name,
                how: How::Uprobe { ret: false, path: path.clone(), offset, semaphore, arguments },
            });
        }
    }
    Ok(found)
}

/// All places of a binary, moved to where prelinking put it.
fn places(elf: &Elf<'_>, file: &[u8]) -> Vec<Place> {
    let Some(notes) = section(elf, ".note.stapsdt") else { return Vec::new() };
    let start = notes.sh_offset as usize;
    let bytes = file.get(start..start.saturating_add(notes.sh_size as usize)).unwrap_or(&[]);
    let base = section(elf, ".stapsdt.base").map(|s| s.sh_addr);
    let mut found = parse(bytes);
    for p in &mut found {
        let moved = base.map_or(0, |b| b.wrapping_sub(p.base));
        p.address = p.address.wrapping_add(moved);
        if p.semaphore != 0 {
            p.semaphore = p.semaphore.wrapping_add(moved);
        }
    }
    found
}

/// Parses the content of the section.
fn parse(bytes: &[u8]) -> Vec<Place> {
    let probes = Notes(bytes).filter(|n| n.kind == NOTE_TYPE && n.name == b"stapsdt\0");
    probes.filter_map(|n| place(n.content)).collect()
}

/// Three addresses, then provider, name and arguments, each ended by NUL.
fn place(content: &[u8]) -> Option<Place> {
    let texts = content.get(24..)?;
    let mut texts = texts.split(|&b| b == 0).map(|t| String::from_utf8_lossy(t).into_owned());
    Some(Place {
        address: crate::maps::word(content, 0),
        base: crate::maps::word(content, 8),
        semaphore: crate::maps::word(content, 16),
        provider: texts.next()?,
        name: texts.next()?,
        arguments: texts.next().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes() {
        let mut content: Vec<u8> = [0x1000u64, 0x2000, 0x3000].iter().flat_map(|w| w.to_le_bytes()).collect();
        content.extend_from_slice(b"fix\0tick\0-4@%eax\0");
        let mut section = Vec::new();
        for kind in [3u32, 4, 3] {
            for w in [8, content.len() as u32, kind] {
                section.extend_from_slice(&w.to_le_bytes());
            }
            section.extend_from_slice(b"stapsdt\0");
            section.extend_from_slice(&content);
            section.resize(section.len().next_multiple_of(4), 0);
        }
        let found = parse(&section);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].provider.as_str(), found[0].name.as_str()), ("fix", "tick"));
        assert_eq!(found[0].arguments, "-4@%eax");
        assert_eq!((found[0].address, found[0].semaphore), (0x1000, 0x3000));
        for cut in 0..section.len() {
            parse(&section[..cut]);
        }
    }
}
