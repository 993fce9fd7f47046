//! Whether what a case did is what it states.
//!
//! Input: a case and an outcome. Output: nothing, or why it fails. Dropped before
//! comparison: the note of how many probes were attached, and blank lines.

use regex_lite::Regex;

use crate::case::Case;
use crate::process::Outcome;

/// Which step an outcome is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Compiling the script.
    Build,
    /// Running the tracer.
    Run,
}

/// Checks an outcome; `Ok(true)` when the case is decided, `Ok(false)` after a
/// build that only makes running possible.
pub fn judge(case: &Case, phase: Phase, got: &Outcome) -> Result<bool, String> {
    if got.status == 101 || got.err.contains("panicked at") {
        return Err(format!("panic: {}", tail(&got.err)));
    }
    match (phase, case.get("exit")) {
        (_, "compile") if got.status != 0 => Ok(true),
        (_, "compile") => Err("accepted, but must be refused".into()),
        (Phase::Build, "fail") if got.status != 0 => Ok(true),
        (Phase::Build, _) if got.status == 0 => Ok(false),
        (Phase::Build, _) => Err(format!("does not compile: {}{}", tail(&got.err), tail(&got.out))),
        (Phase::Run, want) => {
            status(want, case, got)?;
            output(case, got, !want.is_empty()).map(|()| true)
        }
    }
}

fn status(want: &str, case: &Case, got: &Outcome) -> Result<(), String> {
    let right = match want {
        "any" => true,
        "!0" | "fail" => got.status != 0,
        // A signal sent by `until` gives timeout's status, whatever the tracer does.
        "" => got.status == 0 || !case.get("until").is_empty(),
        number => number.parse() == Ok(got.status),
    };
    let wanted = if want.is_empty() { "0" } else { want };
    if right {
        return Ok(());
    }
    Err(format!(
        "exit status {}, wanted {wanted}\n--- stdout\n{}\n--- stderr\n{}",
        got.status,
        tail(&got.out),
        tail(&got.err)
    ))
}

fn output(case: &Case, got: &Outcome, status_stated: bool) -> Result<(), String> {
    let keep = case.get("keep") == "attached";
    let text = normal(
        &match case.get("streams") {
            "stderr" => got.err.clone(),
            "both" => got.out.clone() + &got.err,
            _ => got.out.clone(),
        },
        keep,
    );
    let fail = |want: &str| format!("--- want\n{want}\n--- got\n{text}\n--- stderr\n{}", tail(&got.err));
    if !case.get("lacks").is_empty() {
        let lacks = Regex::new(case.get("lacks")).map_err(|e| e.to_string())?;
        return if lacks.is_match(&text) { Err(fail(&format!("no match of {lacks}"))) } else { Ok(()) };
    }
    if let Some(re) = &case.re {
        let re = re.trim_matches('\n');
        let whole = Regex::new(&format!("^(?:{re})$")).map_err(|e| format!("{}.re: {e}", case.name))?;
        return if whole.is_match(&text) { Ok(()) } else { Err(fail(re)) };
    }
    let Some(want) = &case.out else {
        return if status_stated { Ok(()) } else { Err("no expected output recorded".into()) };
    };
    let want = normal(want, keep);
    let same = if case.get("sort") == "yes" { sorted(&want) == sorted(&text) } else { want == text };
    if same { Ok(()) } else { Err(fail(&want)) }
}

/// Output without what may differ.
pub fn normal(text: &str, keep_attached: bool) -> String {
    let mut kept = String::new();
    for line in text.lines() {
        let attached = is_attach_note(line) || (!keep_attached && line.starts_with("{\"type\": \"attached_probes\""));
        if !attached && !line.is_empty() {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept.trim_end_matches('\n').to_owned()
}

fn is_attach_note(line: &str) -> bool {
    let rest = line.strip_prefix("Attached ").or_else(|| line.strip_prefix("Attaching "));
    let Some((number, what)) = rest.and_then(|r| r.split_once(' ')) else {
        return false;
    };
    number.parse::<u32>().is_ok() && matches!(what.trim_end_matches("..."), "probe" | "probes")
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// The end of a long text.
pub fn tail(text: &str) -> String {
    let skip = text.chars().count().saturating_sub(1500);
    text.trim_end().chars().skip(skip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_only_attach_notes_and_blank_lines() {
        let text = "Attached 2 probes\n\na\n\n\nAttached probes\nAttaching 1 probe...\nb\n\n";
        assert_eq!(normal(text, false), "a\nAttached probes\nb");
    }

    #[test]
    fn keeps_the_json_note_on_request() {
        let note = "{\"type\": \"attached_probes\", \"data\": {\"probes\": 1}}";
        assert_eq!(normal(note, false), "");
        assert_eq!(normal(note, true), note);
    }
}
