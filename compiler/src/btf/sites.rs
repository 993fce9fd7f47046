//! What a finished object asks the target's BTF for.
//!
//! In: an ELF object of ours. Out: one line per distinct CO-RE relocation and
//! per kernel symbol, for people. Damage is an error, never a panic.

use super::raw::{Btf, Kind};
use anyhow::{Context, Result};
use object::{Object, ObjectSection, ObjectSymbol};
use std::collections::BTreeSet;

/// Words of `struct bpf_core_relo`.
const RECORD: usize = 4;
/// Deepest chain of fields and modifiers that is followed.
const MAX_DEPTH: usize = 64;

/// What relocations ask for, by kind (`enum bpf_core_relo_kind`, linux/bpf.h).
const KINDS: [&str; 12] = [
    "offset",
    "size",
    "existence",
    "sign",
    "bit-field shift",
    "bit-field shift",
    "local type id",
    "type id",
    "existence",
    "size",
    "existence",
    "value",
];

/// The relocations of an object, sorted: what is asked of which field or type.
pub fn relocations(object: &[u8]) -> Result<BTreeSet<String>> {
    let elf = object::File::parse(object).context("the object is no ELF file")?;
    let section = |name| elf.section_by_name(name).and_then(|s| s.data().ok());
    let (Some(types), Some(ext)) = (section(".BTF"), section(".BTF.ext")) else { return Ok(BTreeSet::new()) };
    let btf = Btf::new(types.to_vec(), None)?;
    let word = |at: usize| {
        let bytes = ext.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    let mut found = BTreeSet::new();
    // struct btf_ext_header: magic, version, flags; length; three pairs of offset and length.
    let (Some(header), Some(start), Some(length)) = (word(4), word(24), word(28)) else { return Ok(found) };
    let mut at = header as usize + start as usize + 4;
    let end = header as usize + start as usize + length as usize;
    while at + 8 <= end {
        let count = word(at + 4).unwrap_or(0) as usize;
        at += 8;
        for _ in 0..count {
            let (Some(id), Some(access), Some(kind)) = (word(at + 4), word(at + 8), word(at + 12)) else { break };
            found.insert(spell(&btf, id, btf.string(access), kind));
            at += RECORD * 4;
        }
    }
    Ok(found)
}

/// Kernel functions and variables that the object refers to, sorted.
pub fn kernel_symbols(object: &[u8]) -> Result<BTreeSet<String>> {
    let elf = object::File::parse(object).context("the object is no ELF file")?;
    let names = elf.symbols().filter(|s| s.is_undefined()).filter_map(|s| s.name().ok());
    Ok(names.filter(|n| !n.is_empty()).map(str::to_string).collect())
}

/// `struct task_struct.tgid (offset)`.
fn spell(btf: &Btf, id: u32, access: &str, kind: u32) -> String {
    let what = KINDS.get(kind as usize).copied().unwrap_or("?");
    let record = btf.record(id);
    let tag = match record.kind {
        Kind::Struct => "struct ",
        Kind::Union => "union ",
        Kind::Enum | Kind::Enum64 => "enum ",
        _ => "",
    };
    let mut out = format!("{tag}{}", btf.string(record.name));
    let steps: Vec<usize> = access.split(':').filter_map(|s| s.parse().ok()).collect();
    if matches!(record.kind, Kind::Enum | Kind::Enum64) {
        let words = if record.kind == Kind::Enum { 2 } else { 3 };
        let name = steps.first().map_or("", |i| btf.string(record.word(i * words)));
        out += &format!(" {name}");
    } else {
        out += &path(btf, id, steps.get(1..).unwrap_or(&[]));
    }
    format!("{out} ({what})")
}

/// `.a.b[2]`: the steps behind the first, which indexes the root as an array.
fn path(btf: &Btf, root: u32, steps: &[usize]) -> String {
    let (mut out, mut id) = (String::new(), root);
    for &step in steps {
        let mut record = btf.record(id);
        for _ in 0..MAX_DEPTH {
            if !matches!(record.kind, Kind::Typedef | Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag) {
                break;
            }
            record = btf.record(record.size_or_type);
        }
        match record.kind {
            Kind::Struct | Kind::Union if step < record.vlen => {
                // struct btf_member: name, type, offset.
                let name = btf.string(record.word(step * 3));
                if !name.is_empty() {
                    out += &format!(".{name}");
                }
                id = record.word(step * 3 + 1);
            }
            Kind::Array => {
                out += &format!("[{step}]");
                id = record.word(0);
            }
            _ => break,
        }
    }
    out
}
