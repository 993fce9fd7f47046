//! Random programs against the compiler, the kernel and an interpreter.
//!
//! `fuzz [--seed N] [--count N] [--parts N] [--statements N] [--jobs N] [--load]
//! [--common] [--old] [--json] [--oracle COMMAND] [--emit DIR] [--compare DIR] [--print] [--large PROBES]`: see docs/testing.md.
#![allow(clippy::unwrap_used)] // test code

use btc_tests::fuzz::check::{self, Checker, Failure};
use btc_tests::fuzz::{Dialect, Part, Script, generate, large, shrink};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Checks spent on making a failing program small.
const MOST_CHECKS: u32 = 400;

struct Options {
    seed: u64,
    count: u64,
    parts: usize,
    statements: usize,
    jobs: u64,
    load: bool,
    common: bool,
    old: bool,
    json: bool,
    oracle: Option<String>,
    emit: Option<PathBuf>,
    compare: Option<PathBuf>,
    print: bool,
    large: Option<usize>,
}

fn options() -> Result<Options, String> {
    let mut o = Options {
        seed: 1,
        count: 100,
        parts: 6,
        statements: 8,
        jobs: 1,
        load: false,
        common: false,
        old: false,
        json: false,
        oracle: None,
        emit: None,
        compare: None,
        print: false,
        large: None,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut text = || args.next().ok_or(format!("{arg} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|e| format!("{text}: {e}"));
        match arg.as_str() {
            "--seed" => o.seed = number(text()?)?,
            "--count" => o.count = number(text()?)?,
            "--parts" => o.parts = number(text()?)? as usize,
            "--statements" => o.statements = number(text()?)? as usize,
            "--jobs" => o.jobs = number(text()?)?,
            "--load" => o.load = true,
            "--common" => o.common = true,
            "--old" => o.old = true,
            "--json" => o.json = true,
            "--oracle" => o.oracle = Some(text()?),
            "--emit" => o.emit = Some(PathBuf::from(text()?)),
            "--compare" => o.compare = Some(PathBuf::from(text()?)),
            "--large" => o.large = Some(number(text()?)? as usize),
            "--print" => o.print = true,
            _ => return Err(format!("unknown option {arg}")),
        }
    }
    Ok(o)
}

impl Options {
    fn script(&self, seed: u64) -> Script {
        let dialect = match (self.common || self.oracle.is_some(), self.old) {
            (true, _) => Dialect::Common,
            (false, true) => Dialect::Old,
            (false, false) => Dialect::Full,
        };
        let script = generate(seed, dialect, self.parts, self.statements);
        match self.oracle {
            // Its messages name a probe.
            Some(_) => Script { parts_per_probe: 1, ..script },
            None => script,
        }
    }
}

fn main() -> ExitCode {
    let o = match options() {
        Ok(o) => o,
        Err(why) => {
            eprintln!("fuzz: {why}");
            return ExitCode::from(2);
        }
    };
    if let Some(probes) = o.large {
        print!("{}", large::large(probes));
        return ExitCode::SUCCESS;
    }
    if o.print {
        print!("{}", o.script(o.seed).text());
        return ExitCode::SUCCESS;
    }
    if let Some(dir) = &o.compare {
        return compare(dir);
    }
    let btc = btc_tests::btc().unwrap();
    let next = AtomicU64::new(o.seed);
    // Kinds of failures: how often, and the first small program.
    let kinds: Mutex<BTreeMap<String, u64>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..o.jobs {
            scope.spawn(|| {
                let dir = tempfile::tempdir().unwrap();
                let checker = Checker {
                    btc: btc.clone(),
                    dir: dir.path().to_path_buf(),
                    load: o.load || o.oracle.is_some(),
                    unoptimized: o.load,
                    json: o.json,
                    oracle: o.oracle.clone(),
                };
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= o.seed + o.count {
                        break;
                    }
                    one(&o, &checker, seed, &kinds);
                }
            });
        }
    });
    let kinds = kinds.into_inner().unwrap();
    println!("{} programs from seed {}, {} failed", o.count, o.seed, kinds.values().sum::<u64>());
    for (kind, count) in &kinds {
        println!("{count:6} {kind}");
    }
    if kinds.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(o: &Options, checker: &Checker, seed: u64, kinds: &Mutex<BTreeMap<String, u64>>) {
    let script = o.script(seed);
    if let Some(dir) = &o.emit {
        if let Err(found) = emit(checker, dir, seed, &script) {
            // Its script lies in the folder; making it small would hold up the others.
            *kinds.lock().unwrap().entry(found.kind.clone()).or_default() += 1;
            println!("seed {seed}: {}\n{}", found.kind, found.text);
        }
        return;
    }
    for (script, found) in failures(checker, script) {
        note(checker, seed, &script, &found, kinds);
    }
}

/// Builds a tracer to be run elsewhere. With `--load` it also runs here, and what
/// it prints is kept for [`compare`].
fn emit(checker: &Checker, dir: &Path, seed: u64, script: &Script) -> Result<(), Failure> {
    std::fs::create_dir_all(dir).unwrap();
    let (source, tracer) = (dir.join(format!("{seed}.bt")), dir.join(seed.to_string()));
    std::fs::write(&source, script.text()).unwrap();
    checker.build(&source, &tracer, "1")?;
    if checker.load {
        std::fs::write(dir.join(format!("{seed}.here")), checker.run(&tracer, script.probes())?).unwrap();
    }
    Ok(())
}

/// Compares what the tracers of a folder printed elsewhere (`N.out`) and here.
fn compare(dir: &Path) -> ExitCode {
    let (mut same, mut bad) = (0, 0);
    for entry in std::fs::read_dir(dir).unwrap() {
        let out = entry.unwrap().path();
        let here = out.with_extension("here");
        if out.extension().is_none_or(|e| e != "out") || !here.exists() {
            continue;
        }
        let [there, here] = [&out, &here].map(|p| String::from_utf8_lossy(&std::fs::read(p).unwrap()).into_owned());
        match check::same("elsewhere", &here, &check::normal(&there)) {
            Ok(()) => same += 1,
            Err(found) => {
                bad += 1;
                println!("{}: {}\n{}", out.display(), found.kind, found.text);
            }
        }
    }
    println!("{same} the same, {bad} different");
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is wrong with a script. Where the interpreter refuses it, what it complains of
/// is left out; if it does not say what, its halves are compared instead. So one part
/// does not hide all others.
fn failures(checker: &Checker, script: Script) -> Vec<(Script, Failure)> {
    let Err(found) = checker.check(&script) else { return Vec::new() };
    if !found.kind.starts_with("oracle") || script.parts.len() < 2 {
        return vec![(script, found)];
    }
    let some = |parts: &[Part]| Script { parts: parts.to_vec(), ..script.clone() };
    let size = script.parts_per_probe;
    let (one, two) = match found.probe.map(|probe| probe * size) {
        Some(at) if at < script.parts.len() && script.parts.len() > size => {
            let (before, rest) = script.parts.split_at(at);
            let (refused, behind) = rest.split_at(size.min(rest.len()));
            (refused.to_vec(), [before, behind].concat())
        }
        _ => {
            let (one, two) = script.parts.split_at(script.parts.len() / 2);
            (one.to_vec(), two.to_vec())
        }
    };
    if one.len() == 1 && found.probe.is_some() {
        // Alone it is refused again.
        return [vec![(some(&one), found)], failures(checker, some(&two))].concat();
    }
    [some(&one), some(&two)].into_iter().flat_map(|script| failures(checker, script)).collect()
}

fn note(checker: &Checker, seed: u64, script: &Script, found: &Failure, kinds: &Mutex<BTreeMap<String, u64>>) {
    let is_new = {
        let mut kinds = kinds.lock().unwrap();
        let count = kinds.entry(found.kind.clone()).or_default();
        *count += 1;
        *count == 1
    };
    // What the interpreter refuses is no fault of ours.
    if is_new && !found.kind.starts_with("oracle") {
        report(checker, seed, script, found);
    } else {
        println!("seed {seed}: {}\n{}", found.kind, found.text.lines().take(4).collect::<Vec<_>>().join("\n"));
    }
}

fn report(checker: &Checker, seed: u64, script: &Script, found: &Failure) {
    // An interpreter takes a second for each.
    let mut left = if checker.oracle.is_some() { MOST_CHECKS / 8 } else { MOST_CHECKS };
    let small = shrink::shrink(script, &mut |s| {
        left = left.saturating_sub(1);
        left > 0 && checker.check(s).is_err_and(|f| f.kind == found.kind)
    });
    let text = checker.check(&small).err().map_or_else(|| "only sometimes".to_owned(), |f| f.text);
    println!("=== seed {seed}: {}\n{}--- {text}\n", found.kind, small.text());
}
