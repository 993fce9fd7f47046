//! The table of probe kinds and kernels in `docs/kernels.md`, from test results.
//!
//! Input: outcomes of the cases of group `kinds` in the matrix; each is a row.
//! Output: the file, with what stands between its two marks replaced. No cell is
//! written by hand: what was not run keeps no claim.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Group of the cases that are rows.
pub const GROUP: &str = "kinds-";

const BEGIN: &str = "<!-- made by the kernel matrix: begin -->\n";
const END: &str = "<!-- made by the kernel matrix: end -->";

/// What is known of a kind on a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Its case passed.
    Works,
    /// Its case needs a newer kernel, as it states.
    Needs(String),
    /// Its case failed.
    Fails,
}

/// Kinds, and for each the kernels that were asked.
pub type Table = BTreeMap<String, BTreeMap<String, Cell>>;

/// Kernels in the order of their versions.
fn version(kernel: &str) -> Vec<u32> {
    kernel.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// The table as Markdown.
pub fn markdown(table: &Table) -> String {
    let mut kernels: Vec<&String> = table.values().flat_map(|row| row.keys()).collect();
    kernels.sort_by_key(|k| version(k));
    kernels.dedup();
    let mut out = String::from("| probe |");
    kernels.iter().for_each(|k| write!(out, " Linux {k} |").unwrap());
    out += "\n|---|";
    kernels.iter().for_each(|_| out += "---|");
    out.push('\n');
    for (kind, row) in table {
        write!(out, "| {} |", kind.replace('-', " ")).unwrap();
        for kernel in &kernels {
            let text = match row.get(*kernel) {
                Some(Cell::Works) => "works".to_string(),
                Some(Cell::Needs(least)) => format!("needs {least}"),
                Some(Cell::Fails) => "fails".to_string(),
                None => "not tested".to_string(),
            };
            write!(out, " {text} |").unwrap();
        }
        out.push('\n');
    }
    out
}

/// Puts the table between the marks of a file.
pub fn write(path: &Path, table: &Table) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let replaced = replace(&text, &markdown(table)).ok_or_else(|| format!("{} has no marks", path.display()))?;
    std::fs::write(path, replaced).map_err(|e| format!("{}: {e}", path.display()))
}

fn replace(text: &str, table: &str) -> Option<String> {
    let start = text.find(BEGIN)? + BEGIN.len();
    let end = start + text[start..].find(END)?;
    Some(format!("{}{table}{}", &text[..start], &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_kinds_and_columns_kernels() {
        let row = [("6.12", Cell::Works), ("5.10", Cell::Needs("6.6".into())), ("6.1", Cell::Fails)];
        let row: BTreeMap<_, _> = row.into_iter().map(|(k, c)| (k.to_string(), c)).collect();
        let table = Table::from([("uprobe-args".to_string(), row)]);
        let text = markdown(&table);
        assert_eq!(
            text,
            "| probe | Linux 5.10 | Linux 6.1 | Linux 6.12 |\n|---|---|---|---|\n\
             | uprobe args | needs 6.6 | fails | works |\n"
        );
        let file = format!("before\n{BEGIN}old\n{END}\nafter\n");
        let new = replace(&file, &text).unwrap();
        assert_eq!(replace(&new, "old\n").unwrap(), file);
        assert!(replace("no marks", &text).is_none());
    }
}
