//! Structs, unions and enums of kernels by name.
//!
//! In: `struct PATTERN` and the like. Out: their names; with -v their
//! definitions, each under the module it is in. What the kernel itself defines
//! is not repeated for modules that have it too.

use super::ctext::{CText, tag};
use super::kernel::Facts;
use crate::btf::Kind;
use btc_payload::probe::pattern_matches;
use std::collections::BTreeMap;

/// Keywords with the kinds of BTF they stand for.
const TAGS: &[(&str, u32)] =
    &[("struct", Kind::Struct.bit()), ("union", Kind::Union.bit()), ("enum", Kind::Enum.bit() | Kind::Enum64.bit())];

/// The kinds and the pattern of names, if it is types that are looked for.
pub(super) fn tag_of(pattern: &str) -> Option<(u32, &str)> {
    let (word, name) = pattern.split_once(' ')?;
    TAGS.iter().find(|t| t.0 == word).map(|t| (t.1, name))
}

/// Lines of all types that match.
pub(super) fn list(facts: &Facts, kinds: u32, pattern: &str) -> Vec<String> {
    let Some(sources) = facts.btf() else { return Vec::new() };
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for blob in sources.bases().chain(sources.modules()) {
        let module = blob.module.as_deref().unwrap_or("vmlinux");
        for (name, id) in blob.btf.named(kinds).filter(|(name, _)| pattern_matches(pattern, name)) {
            let tag = tag(blob.btf.record(id).kind).unwrap_or("");
            let line = || match facts.verbose {
                true => format!("{module}: {}", CText { btf: &blob.btf }.definition(id)),
                false => format!("{tag} {name}"),
            };
            // The kernel's comes first, and stays.
            found.entry(format!("{tag} {name}")).or_insert_with(line);
        }
    }
    found.into_values().collect()
}
