//! The examples of the documents: each must compile, and print what stands below it.
//!
//! In: fenced blocks of `docs/*.md`. A block `bt` is a script that `btc check`
//! takes; an `output` block behind it is what its tracer prints (root); a block
//! `bt CODE` is a script that must be refused with that diagnostic. `bt -- WORDS`
//! runs the tracer with these parameters, `bt unsafe` builds with `--unsafe`.
#![allow(clippy::unwrap_used)] // test code

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use btc_tests::{is_root, process, root, verdict};
use libtest_mimic::{Arguments, Failed, Trial};

/// A script of a document.
struct Example {
    /// File and line.
    name: String,
    /// What follows `bt`.
    info: String,
    script: String,
    output: Option<String>,
}

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let btc = match btc_tests::btc() {
        Ok(btc) => btc,
        Err(why) => {
            eprintln!("docs: {why}");
            return ExitCode::FAILURE;
        }
    };
    let mut files: Vec<_> = fs::read_dir(root().join("docs")).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "md"));
    files.sort();
    let examples: Vec<Example> = files.iter().flat_map(|f| examples(f)).collect();
    assert!(examples.iter().any(|e| e.output.is_some()), "no examples in docs/: has the form of fences changed?");
    if !is_root() {
        eprintln!("SKIPPED the output of examples: not root");
    }
    let trials = examples.into_iter().map(|e| {
        let btc = btc.clone();
        Trial::test(e.name.clone(), move || check(&btc, &e).map_err(Failed::from))
    });
    libtest_mimic::run(&args, trials.collect()).exit_code()
}

/// The scripts of a document, with their output.
fn examples(file: &Path) -> Vec<Example> {
    let text = fs::read_to_string(file).unwrap();
    let stem = file.file_stem().unwrap().to_string_lossy();
    let mut found: Vec<Example> = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```").filter(|i| !i.is_empty()) else { continue };
        let body: String = lines.by_ref().map(|(_, l)| l).take_while(|l| *l != "```").flat_map(|l| [l, "\n"]).collect();
        match info.split_once(' ').unwrap_or((info, "")) {
            ("bt", info) => found.push(Example {
                name: format!("{stem}:{}", number + 1),
                info: info.to_owned(),
                script: body,
                output: None,
            }),
            ("output", _) => found.last_mut().expect("output without a script").output = Some(body),
            _ => {}
        }
    }
    found
}

fn check(btc: &Path, e: &Example) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (script, tracer) = (dir.path().join("example.bt"), dir.path().join("tracer"));
    fs::write(&script, &e.script).map_err(|e| e.to_string())?;
    let allow = ["--unsafe"].iter().filter(|_| e.info == "unsafe");
    let built = process::bounded(Command::new(btc).arg("build").args(allow).arg(&script).arg("-o").arg(&tracer), 60);
    let built = built.map_err(|e| e.to_string())?;
    if e.info.starts_with('E') {
        let right = built.status == 1 && built.err.contains(&e.info);
        return if right { Ok(()) } else { Err(format!("not refused with {}: {}", e.info, built.err)) };
    }
    if built.status != 0 {
        return Err(built.err);
    }
    let Some(expected) = e.output.as_ref().filter(|_| is_root()) else { return Ok(()) };
    let words = e.info.strip_prefix("-- ").unwrap_or("").split_whitespace();
    let ran = process::bounded(Command::new(&tracer).args(words), 20).map_err(|e| e.to_string())?;
    let (got, expected) = (verdict::normal(&ran.out, false), verdict::normal(expected, false));
    if got == expected { Ok(()) } else { Err(format!("expected:\n{expected}\ngot:\n{got}\n{}", ran.err)) }
}
