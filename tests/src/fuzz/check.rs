//! What must hold for a generated program.
//!
//! Input: a script. Output: why it fails, in one line that names the kind of
//! failure, so that shrinking keeps to the same one.

use super::Script;
use crate::process::{self, Outcome};
use crate::verdict::tail;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A check of generated programs.
#[derive(Clone, Debug)]
pub struct Checker {
    /// The compiler.
    pub btc: PathBuf,
    /// Folder for scripts and tracers.
    pub dir: PathBuf,
    /// Load and run what was built; needs root.
    pub load: bool,
    /// Run it unoptimised, too; the output must be the same.
    pub unoptimized: bool,
    /// Run it with `-f json`; the oracle's command must say so, too.
    pub json: bool,
    /// A command that interprets `{src}`; its output must be the same.
    pub oracle: Option<String>,
}

/// Why a program fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Kind, and what of the message is the same for smaller programs.
    pub kind: String,
    /// All of it.
    pub text: String,
    /// The probe of which an interpreter complains, from 0, if it says so.
    pub probe: Option<usize>,
}

fn failure(kind: impl Into<String>, text: impl Into<String>) -> Result<String, Failure> {
    Err(Failure { kind: kind.into(), text: text.into(), probe: None })
}

impl Checker {
    /// Applies all checks to a script.
    pub fn check(&self, script: &Script) -> Result<(), Failure> {
        let source = self.dir.join("script.bt");
        fs::write(&source, script.text()).expect("the folder of the checks is writable");
        let tracer = self.dir.join("tracer");
        self.build(&source, &tracer, "1")?;
        if !self.load {
            return Ok(());
        }
        let output = self.run(&tracer, script.probes())?;
        if self.unoptimized {
            self.build(&source, &tracer, "0")?;
            // What the optimiser removes may be too much for the verifier.
            if let Ok(plain) = self.run(&tracer, script.probes()) {
                same("unoptimised", &output, &plain)?;
            }
        }
        let Some(oracle) = &self.oracle else { return Ok(()) };
        let command = oracle.replace("{src}", &process::quote(&source.to_string_lossy()));
        let got = process::shell(&command, 60).expect("sh runs");
        if got.status != 0 || got.err.contains("ERROR") {
            let found = failure(format!("oracle: {}", first_error(&got.err)), tail(&got.err));
            return found.map(drop).map_err(|f| Failure { probe: refused_probe(&got.err), ..f });
        }
        same("oracle", &output, &normal(&as_documented(&got.out)))
    }

    /// Builds a script; a valid one must not be refused.
    pub fn build(&self, source: &Path, tracer: &Path, level: &str) -> Result<(), Failure> {
        let mut command = Command::new(&self.btc);
        command.args(["build", "-O", level, "--no-warnings"]).arg(source).arg("-o").arg(tracer);
        let got = process::bounded(&command, 60).expect("btc runs");
        match got.status {
            0 => Ok(()),
            _ => failure(format!("build: {}", first_error(&got.err)), tail(&got.err)).map(drop),
        }
    }

    /// Runs a tracer of so many probes; gives its output in [`normal`] order.
    pub fn run(&self, tracer: &Path, probes: usize) -> Result<String, Failure> {
        let mut command = Command::new(tracer);
        if self.json {
            command.args(["-f", "json"]);
        }
        let Outcome { status, out, err, .. } = process::bounded(&command, 30).expect("the tracer starts");
        if status != 0 || err.contains("lost") {
            return failure(format!("run {status}: {}", first_error(&err)), tail(&err));
        }
        // A probe that got lost prints nothing, with the optimiser and without.
        let attached = format!("Attached {probes} probe");
        if !self.json && ![&out, &err].iter().any(|text| text.contains(&attached)) {
            return failure("probes are missing", format!("{probes} expected: {}", first_error(&err)));
        }
        Ok(normal(&out))
    }
}

/// The form of `stats()` in the reference, which 0.27.1 prints as a record.
fn as_documented(out: &str) -> String {
    let record = |line: &str| {
        let (head, rest) = line.split_once("{ .count = ")?;
        let (count, rest) = rest.split_once(", .average = ")?;
        let (average, total) = rest.trim_end().strip_suffix(" }")?.split_once(", .total = ")?;
        Some(format!("{head}count {count}, average {average}, total {total}"))
    };
    out.lines().map(|line| record(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

/// The probe that a message of bpftrace names: `begin_3` is the third one.
fn refused_probe(err: &str) -> Option<usize> {
    let heads = ["loading BPF program for begin_", "in function begin_"];
    let rest = heads.iter().find_map(|head| err.split_once(head))?.1;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse::<usize>().ok()?.checked_sub(1)
}

/// The first line that says what is wrong, without the numbers in it.
fn first_error(err: &str) -> String {
    let is_error = |l: &&str| l.starts_with("error") || l.contains("ERROR") || l.contains("panicked");
    let line = err.lines().find(is_error).or(err.lines().next());
    let line = line.unwrap_or_default();
    let line = line.rsplit_once("ERROR: ").map_or(line, |(_, rest)| rest);
    // Numbers and names of the program differ from case to case; not the error's code.
    let (code, message) = line.split_at(line.find("]: ").unwrap_or(0));
    let mut quoted = false;
    let mut kept = |c: &char| {
        quoted ^= *c == '`';
        !quoted && !c.is_ascii_digit()
    };
    format!("{code}{}", message.chars().filter(&mut kept).collect::<String>())
}

/// Fails where two outputs differ, and shows the first lines that do.
pub fn same(who: &str, ours: &str, theirs: &str) -> Result<(), Failure> {
    if ours == theirs {
        return Ok(());
    }
    let (mut a, mut b) = (ours.lines(), theirs.lines());
    let pair = std::iter::from_fn(|| match (a.next(), b.next()) {
        (None, None) => None,
        (x, y) => Some((x.unwrap_or("(nothing)"), y.unwrap_or("(nothing)"))),
    });
    let different: Vec<_> =
        pair.filter(|(x, y)| x != y).take(10).map(|(x, y)| format!("  {x}\n  {who}: {y}")).collect();
    failure(format!("differs from {who}"), different.join("\n")).map(drop)
}

/// Output in an order that does not depend on hashing: lines that begin with
/// `~`, then the entries of maps are sorted, empty lines left out.
pub fn normal(out: &str) -> String {
    let mut plain = Vec::new();
    let mut unordered = Vec::new();
    let mut entries: Vec<String> = Vec::new();
    for line in out.lines().filter(|l| !l.trim().is_empty() && !l.starts_with("Attach")) {
        let bucket = line.starts_with(['[', '(']) && line.trim_end().ends_with('|');
        let json = line.strip_prefix("{\"type\": \"");
        match entries.last_mut() {
            _ if json.is_some_and(|rest| rest.starts_with("attached_probes")) => {}
            _ if json.is_some_and(|rest| rest.starts_with("printf\", \"data\": \"~")) => unordered.push(line),
            _ if json.is_some_and(|rest| MAPS.iter().any(|kind| rest.starts_with(kind))) => {
                entries.push(pieces(line));
            }
            _ if line.starts_with('~') => unordered.push(line),
            _ if line.starts_with('@') => entries.push(line.trim_end().to_owned()),
            Some(entry) if bucket => *entry = format!("{entry}\n{line}"),
            _ => plain.push(line),
        }
    }
    unordered.sort_unstable();
    entries.sort_unstable();
    let parts = plain.into_iter().chain(unordered).map(str::to_owned).chain(entries);
    parts.collect::<Vec<_>>().join("\n")
}

/// Lines of `-f json` that show a map.
const MAPS: &[&str] = &["map\"", "hist\"", "stats\""];

/// The entries of a map in JSON, sorted: what stands between commas, brackets
/// left out, for entries may be lists.
fn pieces(line: &str) -> String {
    // 0.27.1 leaves blanks out of some keys.
    let dense: String = line.chars().filter(|c| *c != ' ').collect();
    let (head, entries) =
        dense.split_once(":{\"@").and_then(|(_, rest)| rest.split_once("\":")).unwrap_or(("", &dense));
    let mut list: Vec<&str> = entries.split(',').map(|piece| piece.trim_matches(['{', '}', '[', ']'])).collect();
    list.sort_unstable();
    format!("@{head}: {}", list.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_read_as_documented() {
        assert_eq!(
            as_documented("@m[a]: { .count = 1, .average = 2, .total = 2 }\n"),
            "@m[a]: count 1, average 2, total 2\n"
        );
        assert_eq!(as_documented("{ .a = 1 }\n"), "{ .a = 1 }\n");
    }

    #[test]
    fn a_message_names_its_probe() {
        let message = "ERROR: Error loading BPF program for begin_12. Error code: -28 (No space left on device).";
        assert_eq!(refused_probe(message), Some(11));
        assert_eq!(refused_probe("error: in function begin_1 i64 (ptr): stack"), Some(0));
        assert_eq!(refused_probe("ERROR: unknown variable"), None);
    }

    #[test]
    fn order_of_json_does_not_count() {
        let line = |a: &str, b: &str| format!("{{\"type\": \"map\", \"data\": {{\"@m\": {{{a}, {b}}}}}}}\n");
        assert_eq!(normal(&line("\"1\": 2", "\"3\": 4")), normal(&line("\"3\": 4", "\"1\": 2")));
        assert_ne!(normal(&line("\"1\": 2", "\"3\": 4")), normal(&line("\"3\": 4", "\"1\": 5")));
    }

    #[test]
    fn hash_order_does_not_count() {
        let one = "1\n~b\n~a\n2\n\n@m[2]: 1\n@m[1]: 1\n@h:\n[0]    1 |@@@|\n";
        let two = "1\n2\n~a\n~b\n@h:\n[0]    1 |@@@|\n\n@m[1]: 1\n@m[2]: 1\n";
        assert_eq!(normal(one), normal(two));
        assert_ne!(normal("1\n2\n"), normal("2\n1\n"));
    }
}
