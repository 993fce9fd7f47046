//! `EXPECTED_FAILURES`: cases that are known not to pass yet, each with a reason.
//!
//! A listed case that passes is an error, so the list cannot rot. A line is
//! `NAME REASON`, or `WHERE::NAME REASON` for one place only (`host`, `6.12`).

use std::collections::BTreeMap;
use std::path::Path;

/// The list.
#[derive(Debug, Default)]
pub struct Expected(BTreeMap<String, String>);

impl Expected {
    /// Reads the list; every line needs a reason, and every name a case.
    pub fn read(path: &Path, exists: impl Fn(&str) -> bool) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut list = BTreeMap::new();
        for line in text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')) {
            let (name, reason) =
                line.split_once(' ').ok_or_else(|| format!("EXPECTED_FAILURES: no reason for {line}"))?;
            let case = name.rsplit("::").next().unwrap_or(name);
            if !exists(case) {
                return Err(format!("EXPECTED_FAILURES: no case is called {case}"));
            }
            list.insert(name.to_owned(), reason.trim().to_owned());
        }
        Ok(Self(list))
    }

    /// The reason why `place::name` may fail.
    pub fn reason(&self, place: &str, name: &str) -> Option<&str> {
        self.0.get(&format!("{place}::{name}")).or_else(|| self.0.get(name)).map(String::as_str)
    }

    /// Turns a verdict into the test's result.
    pub fn settle(&self, place: &str, name: &str, verdict: Result<(), String>) -> Result<(), String> {
        match (verdict, self.reason(place, name)) {
            (Ok(()), Some(reason)) => Err(format!("passes, but is listed in EXPECTED_FAILURES ({reason}): remove it")),
            (Err(_), Some(_)) => Ok(()),
            (verdict, None) => verdict,
        }
    }
}
