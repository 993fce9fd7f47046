//! Addresses of source lines.
//!
//! In: a file, as much of its path as was written, and a line. Out: where the
//! line's statements begin: the first of each function, and of each place where
//! a function is inlined.

use super::Reader;
use super::die::{Result, Units};
use std::collections::BTreeMap;

/// What a search found.
#[derive(Default)]
pub(super) struct Found {
    /// Addresses, sorted.
    pub addresses: Vec<u64>,
    /// Does any unit name the file?
    pub file: bool,
    /// The nearest line behind it that has code.
    pub next: Option<u64>,
}

/// Searches all units.
pub(super) fn find(units: &Units, file: &str, line: u64) -> Result<Found> {
    let mut found = Found::default();
    for (index, place) in units.own() {
        let Some(program) = place.unit.line_program.clone() else { continue };
        let matching = matching_files(units, index, &program, file);
        if matching.is_empty() {
            continue;
        }
        found.file = true;
        let (mut rows, mut addresses) = (program.rows(), Vec::new());
        while let Some((_, row)) = rows.next_row()? {
            let at = row.line().map_or(0, u64::from);
            if row.end_sequence() || !row.is_stmt() || !matching.contains(&row.file_index()) {
                continue;
            }
            if at == line {
                addresses.push(row.address());
            } else if at > line && found.next.is_none_or(|n| at < n) {
                found.next = Some(at);
            }
        }
        found.addresses.extend(first_of_each(units, index, addresses)?);
    }
    found.addresses.sort();
    found.addresses.dedup();
    Ok(found)
}

/// Indices of the files whose path ends in what was written.
fn matching_files(
    units: &Units,
    index: usize,
    program: &gimli::IncompleteLineProgram<Reader>,
    wanted: &str,
) -> Vec<u64> {
    let (header, unit) = (program.header(), units.unit(index));
    let text = |value| {
        let text = units.sections(index).attr_string(unit, value).ok()?;
        Some(String::from_utf8_lossy(&gimli::Reader::to_slice(&text).ok()?).into_owned())
    };
    let count = header.file_names().len() as u64;
    let matches = |i: &u64| {
        let Some(file) = header.file(*i) else { return false };
        let name = text(file.path_name()).unwrap_or_default();
        let dir = file.directory(header).and_then(text).unwrap_or_default();
        let path = if name.starts_with('/') { name } else { format!("{dir}/{name}") };
        path == wanted || path.ends_with(&format!("/{}", wanted.trim_start_matches("./")))
    };
    (0..=count).filter(matches).collect()
}

/// The lowest address within each function and inlined copy of one.
fn first_of_each(units: &Units, index: usize, addresses: Vec<u64>) -> Result<Vec<u64>> {
    if addresses.len() < 2 {
        return Ok(addresses);
    }
    // By address: size and offset of the smallest scope around it.
    let mut scopes: Vec<Option<(u64, usize)>> = vec![None; addresses.len()];
    // The functions of a skeleton are elsewhere.
    let index = units.places[index].content.unwrap_or(index);
    let unit = units.unit(index);
    let mut entries = unit.entries();
    while let Some(entry) = entries.next_dfs()? {
        if !matches!(entry.tag(), gimli::DW_TAG_subprogram | gimli::DW_TAG_inlined_subroutine) {
            continue;
        }
        let mut ranges = units.sections(index).die_ranges(unit, entry)?;
        let mut parts = Vec::new();
        while let Some(range) = ranges.next()? {
            parts.push(range);
        }
        let size = parts.iter().map(|r| r.end.saturating_sub(r.begin)).sum();
        for (scope, address) in scopes.iter_mut().zip(&addresses) {
            let inside = parts.iter().any(|r| (r.begin..r.end).contains(address));
            if inside && scope.is_none_or(|(s, _)| size <= s) {
                *scope = Some((size, entry.offset().0));
            }
        }
    }
    let mut first: BTreeMap<Option<usize>, u64> = BTreeMap::new();
    for (scope, address) in scopes.iter().zip(addresses) {
        let slot = first.entry(scope.map(|s| s.1)).or_insert(address);
        *slot = address.min(*slot);
    }
    Ok(first.into_values().collect())
}
