//! `EXPECTED_FAILURES`: cases that are known not to pass yet, each with a reason.
//!
//! A listed case that passes is an error, so the list cannot rot. A line is
//! `NAME REASON`, or `WHERE::NAME REASON` for one place only (`host`, `6.12`).
//! With `?` in front the case may pass as well: its outcome depends on timing or
//! on the machine, and the reason says how.

use std::collections::BTreeMap;
use std::path::Path;

/// The list.
#[derive(Debug, Default)]
pub struct Expected(BTreeMap<String, Entry>);

/// A line of the list.
#[derive(Debug)]
struct Entry {
    reason: String,
    /// May it pass as well?
    may_pass: bool,
}

impl Expected {
    /// Reads the list; every line needs a reason, and every name a case.
    pub fn read(path: &Path, exists: impl Fn(&str) -> bool) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut list = BTreeMap::new();
        for line in text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')) {
            let (name, reason) =
                line.split_once(' ').ok_or_else(|| format!("EXPECTED_FAILURES: no reason for {line}"))?;
            let (name, may_pass) = name.strip_prefix('?').map_or((name, false), |n| (n, true));
            let case = name.rsplit("::").next().unwrap_or(name);
            if !exists(case) {
                return Err(format!("EXPECTED_FAILURES: no case is called {case}"));
            }
            list.insert(name.to_owned(), Entry { reason: reason.trim().to_owned(), may_pass });
        }
        Ok(Self(list))
    }

    /// The line for `place::name`.
    fn entry(&self, place: &str, name: &str) -> Option<&Entry> {
        self.0.get(&format!("{place}::{name}")).or_else(|| self.0.get(name))
    }

    /// The reason why `place::name` may fail.
    pub fn reason(&self, place: &str, name: &str) -> Option<&str> {
        self.entry(place, name).map(|e| e.reason.as_str())
    }

    /// Turns a verdict into the test's result.
    pub fn settle(&self, place: &str, name: &str, verdict: Result<(), String>) -> Result<(), String> {
        match (verdict, self.entry(place, name)) {
            (Ok(()), Some(Entry { reason, may_pass: false })) => {
                Err(format!("passes, but is listed in EXPECTED_FAILURES ({reason}): remove it"))
            }
            (_, Some(_)) => Ok(()),
            (verdict, None) => verdict,
        }
    }
}
