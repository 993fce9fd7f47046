//! tracefs: which tracepoints there are, and how their records are laid out.
//!
//! In: the mounted tracefs. Out: event names, ids, fields.

use anyhow::{Context, Result, bail};
use btc_payload::manifest::{DATA_LOC, REL_LOC};
use std::path::{Path, PathBuf};

/// Where tracefs may be mounted, best first.
const ROOTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// A field of a tracepoint's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name.
    pub name: String,
    /// Offset in bytes from the start of the record.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
    /// Is it signed?
    pub signed: bool,
    /// How it lies in the record: the values of `Operand::TracepointPlace`.
    pub place: u32,
}

/// The mounted tracefs.
pub fn root() -> Result<PathBuf> {
    let found = ROOTS.iter().map(Path::new).find(|p| p.join("events").is_dir());
    match found {
        Some(p) => Ok(p.to_path_buf()),
        None if ROOTS.iter().any(|p| denied(p)) => {
            bail!("tracefs may not be read: run as root, or with CAP_DAC_READ_SEARCH")
        }
        None => bail!("tracefs is not readable; as root: mount -t tracefs nodev /sys/kernel/tracing"),
    }
}

fn denied(root: &str) -> bool {
    std::fs::read_dir(root).is_err_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied)
}

/// (category, event) of all tracepoints that match both patterns, sorted.
pub fn matching(category: &str, event: &str) -> Result<Vec<(String, String)>> {
    use btc_payload::probe::{is_pattern, pattern_matches};
    let root = root()?.join("events");
    if !is_pattern(category) && !is_pattern(event) {
        let exists = root.join(category).join(event).join("id").exists();
        return Ok(if exists { vec![(category.into(), event.into())] } else { Vec::new() });
    }
    let mut found = Vec::new();
    for c in directories(&root)?.into_iter().filter(|c| pattern_matches(category, c)) {
        // Those of ftrace itself cannot be switched on (kernel/trace/trace_export.c).
        for e in directories(&root.join(&c))?.into_iter().filter(|e| c != "ftrace" && pattern_matches(event, e)) {
            found.push((c.clone(), e));
        }
    }
    found.sort();
    Ok(found)
}

fn directories(at: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(at).with_context(|| format!("cannot list {}", at.display()))?;
    Ok(entries
        .flatten()
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .filter_map(|e| e.file_name().into_string().ok())
        .collect())
}

/// Id of a tracepoint, as perf wants it.
pub fn id(category: &str, event: &str) -> Result<u64> {
    let path = root()?.join("events").join(category).join(event).join("id");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    text.trim().parse().with_context(|| format!("{} holds no number", path.display()))
}

/// Fields of a tracepoint's record.
pub fn fields(category: &str, event: &str) -> Result<Vec<Field>> {
    let path = root()?.join("events").join(category).join(event).join("format");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.lines().filter_map(parse_field).collect())
}

/// Parses a line such as `field:int x; offset:8; size:4; signed:1;`, where tabs separate.
fn parse_field(line: &str) -> Option<Field> {
    let mut parts = line.trim().strip_prefix("field:")?.split(';');
    let declaration = parts.next()?;
    let place = match declaration.split(' ').next() {
        Some("__data_loc") => DATA_LOC,
        Some("__rel_loc") => REL_LOC,
        _ => 0,
    };
    let declarator = declaration.rsplit([' ', '*', '\t']).find(|s| !s.is_empty())?;
    let name = declarator.split('[').next()?.to_string();
    let mut number = |key: &str| parts.next()?.trim().strip_prefix(key)?.parse::<u32>().ok();
    let (offset, size) = (number("offset:")?, number("size:")?);
    Some(Field { name, offset, size, signed: number("signed:") == Some(1), place })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_lines() {
        let f = parse_field("\tfield:const char * filename;\toffset:24;\tsize:8;\tsigned:0;").unwrap();
        assert_eq!((f.name.as_str(), f.offset, f.size, f.signed), ("filename", 24, 8, false));
        let f = parse_field("\tfield:char comm[16];\toffset:8;\tsize:16;\tsigned:1;").unwrap();
        assert_eq!((f.name.as_str(), f.signed, f.place), ("comm", true, 0));
        let f = parse_field("\tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;").unwrap();
        assert_eq!((f.name.as_str(), f.place), ("filename", 1));
        let f = parse_field("\tfield:__rel_loc char[] x;\toffset:8;\tsize:4;\tsigned:0;").unwrap();
        assert_eq!((f.name.as_str(), f.place), ("x", 2));
        assert_eq!(parse_field("print fmt: \"x\""), None);
    }
}
