//! Scripts that must be refused, and the exact message each must get.
//!
//! `tests/ui/NAME.bt` is given to `btc build`; standard error must be
//! `tests/ui/NAME.stderr` and the exit status 1. BTC_BLESS=1 records the
//! messages; review that diff as code. A script's first line may be
//! `// flags: ...` of the build, or `// env: NAME=VALUE` for it.
//!
//! Every code of a diagnostic in the compiler must have such a script, so that
//! somebody has read what it says.
#![allow(clippy::unwrap_used)] // test code

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use btc_tests::{process, root};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let dir = root().join("tests/ui");
    let mut scripts: Vec<PathBuf> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    scripts.retain(|p| p.extension().is_some_and(|e| e == "bt"));
    scripts.sort();
    let btc = match btc_tests::btc() {
        Ok(btc) => btc,
        Err(why) => {
            eprintln!("ui: {why}");
            return ExitCode::FAILURE;
        }
    };
    let trial = |script: PathBuf| {
        let (name, btc) = (script.file_stem().unwrap().to_string_lossy().into_owned(), btc.clone());
        Trial::test(name, move || check(&btc, &script).map_err(Failed::from))
    };
    let mut trials: Vec<Trial> = scripts.into_iter().map(trial).collect();
    trials.push(Trial::test("every_code_has_a_script", move || all_codes(&dir).map_err(Failed::from)));
    libtest_mimic::run(&args, trials).exit_code()
}

/// Codes without a script here, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("E0101", "a script of megabytes; syntax/parse/tests.rs"),
    ("E0102", "an expression of hundreds of operators; syntax/parse/tests.rs"),
    ("E0107", "a directive cut off by the end of an item; syntax/parse/tests.rs"),
    ("E0225", "values of such types are refused where they are read"),
    ("E0331", "needs a folder that everybody may write to; the case import-world-writable"),
    ("E0456", "the grammar has a better message for what a script can write"),
    ("E0508", "a header that includes itself; syntax/c/tests.rs"),
    ("E0510", "macros that grow without end; syntax/c/tests/garbage.rs"),
    ("E0900", "an internal limit of a stage, none is known to be reached"),
    ("E0901", "a kernel type that the reference does not have"),
    ("E0999", "the renderer's own tests"),
    ("W0522", "macros of headers; syntax/c/tests.rs"),
    ("W0999", "the renderer's own tests"),
];

/// Is there a message for each code that stands in the compiler's sources?
fn all_codes(dir: &Path) -> Result<(), String> {
    let codes = regex_lite::Regex::new(r"\b[EW]0[0-9]{3}\b").map_err(|e| e.to_string())?;
    let mut shown = BTreeSet::new();
    collect(dir, "stderr", &mut |text| shown.extend(codes.find_iter(text).map(|m| m.as_str().to_owned())));
    let quoted = regex_lite::Regex::new(r#""([EW]0[0-9]{3})""#).map_err(|e| e.to_string())?;
    let mut used = BTreeSet::new();
    collect(&root().join("compiler/src"), "rs", &mut |text| {
        used.extend(quoted.captures_iter(text).map(|c| c[1].to_owned()));
    });
    let listed = |code: &str| ELSEWHERE.iter().any(|(c, _)| *c == code);
    let missing: Vec<_> = used.iter().filter(|c| !shown.contains(*c) && !listed(c)).cloned().collect();
    let stale: Vec<_> = ELSEWHERE.iter().filter(|(c, _)| shown.contains(*c) || !used.contains(*c)).collect();
    match (missing.is_empty(), stale.is_empty()) {
        (true, true) => Ok(()),
        (false, _) => Err(format!("no script in tests/ui shows {}", missing.join(" "))),
        (true, false) => Err(format!("ELSEWHERE lists what has a script, or is gone: {stale:?}")),
    }
}

/// Gives the text of every file below `dir` whose name ends so.
fn collect(dir: &Path, ending: &str, take: &mut dyn FnMut(&str)) {
    for entry in fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
        if entry.is_dir() {
            collect(&entry, ending, take);
        } else if entry.extension().is_some_and(|e| e == ending) {
            take(&fs::read_to_string(&entry).unwrap());
        }
    }
}

fn check(btc: &Path, script: &Path) -> Result<(), String> {
    let out = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mut command = Command::new(btc);
    // The folder is the working directory, so that messages hold no path of this machine.
    command.current_dir(script.parent().unwrap()).arg("build").arg(script.file_name().unwrap());
    command.arg("-o").arg(out.path().join("tracer"));
    let text = fs::read_to_string(script).map_err(|e| e.to_string())?;
    if let Some(flags) = text.lines().next().and_then(|l| l.strip_prefix("// flags: ")) {
        command.args(flags.split_whitespace());
    }
    if let Some(set) = text.lines().next().and_then(|l| l.strip_prefix("// env: ")) {
        command.envs(set.split_whitespace().filter_map(|v| v.split_once('=')));
    }
    let got = process::bounded(&command, 20).map_err(|e| e.to_string())?;
    if got.status != 1 {
        return Err(format!("exit status {}, wanted 1\n--- stderr\n{}", got.status, got.err));
    }
    let expected = script.with_extension("stderr");
    if std::env::var_os("BTC_BLESS").is_some() {
        return fs::write(&expected, &got.err).map_err(|e| e.to_string());
    }
    let want = fs::read_to_string(&expected).unwrap_or_default();
    if want == got.err { Ok(()) } else { Err(format!("--- want\n{want}\n--- got\n{}", got.err)) }
}
