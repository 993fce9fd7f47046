//! Every script of the cases, and random ones, slightly broken: btc must build or
//! refuse them, and never panic, hang, or call itself broken.
//!
//! The compiler runs in this process: to start one for each takes far longer than
//! most scripts. A mutant follows from its number alone, so a failure repeats.
//! BTC_MUTANTS sets how many are tried (default 300), BTC_MUTANT_SEED the first,
//! BTC_MUTANT_JOBS how many at once. The last mutant of each job lies in the
//! target directory, where it is found when the process itself dies.
#![allow(clippy::unwrap_used, missing_docs)] // test code

use std::collections::BTreeMap;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use btc::driver::{self, Emit, Failure, Request};
use btc::syntax::parse::on_deep_stack;
use btc_tests::fuzz::mutate::mutate;
use btc_tests::fuzz::random::Random;
use btc_tests::fuzz::{Dialect, generate};
use btc_tests::{case, root};

/// What is too long for a script of a page.
const LONG: Duration = Duration::from_secs(30);

/// Random programs among the scripts.
const GENERATED: u64 = 100;

struct Source {
    name: String,
    /// Where it stands: imports are looked for there.
    path: Option<PathBuf>,
    script: String,
}

fn sources() -> Vec<Source> {
    let cases = case::all(&root().join("tests/cases")).unwrap();
    let mut list: Vec<Source> = cases
        .into_iter()
        .filter(|c| !c.script.is_empty())
        .map(|c| Source { path: Some(root().join("tests/cases/mutant.bt")), name: c.name, script: c.script })
        .collect();
    assert!(list.iter().any(|c| c.name.starts_with("example-")), "the examples are among the cases");
    for seed in 0..GENERATED {
        let script = generate(seed, Dialect::Full, 1, 5).text();
        list.push(Source { name: format!("random {seed}"), path: None, script });
    }
    list
}

/// Why a script shows a fault of the compiler, if it does.
fn fault(source: &Source, text: &str) -> Option<String> {
    let request = Request {
        name: source.name.clone(),
        path: source.path.clone(),
        text: text.to_owned(),
        allow_unsafe: true,
        ..Request::default()
    };
    let start = Instant::now();
    let output = panic::catch_unwind(AssertUnwindSafe(|| driver::compile(&request, Emit::Payload).output));
    if start.elapsed() > LONG {
        return Some(format!("takes {:?}", start.elapsed()));
    }
    match output {
        Ok(Ok(_) | Err(Failure::Reported | Failure::Limit(_) | Failure::Environment(_))) => None,
        Ok(Err(Failure::Internal(why))) => Some(format!("internal error: {why}")),
        Err(why) => {
            let text = why.downcast_ref::<String>().map(String::as_str).or(why.downcast_ref::<&str>().copied());
            Some(format!("panic: {}", text.unwrap_or("?")))
        }
    }
}

/// Tries mutant after mutant; fills `bad`: the fault, how often, and the first mutant that has it.
fn job(number: u64, sources: &[Source], next: &AtomicU64, end: u64, bad: &Mutex<BTreeMap<String, (u64, String)>>) {
    let last = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mutant{number}.bt"));
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            break;
        }
        let mut random = Random::new(seed);
        let (source, other) = (random.pick(sources), random.pick(sources));
        let mutant = mutate(&source.script, &other.script, &mut random);
        fs::write(&last, &mutant).unwrap();
        if let Some(why) = fault(source, &mutant) {
            let mut bad = bad.lock().unwrap();
            let entry = bad.entry(why.clone()).or_insert_with(|| (0, mutant.clone()));
            entry.0 += 1;
            if entry.0 == 1 {
                // At once: the run may be long.
                println!("=== mutant {seed} of {}: {why}\n{mutant}\n---", source.name);
            }
        }
    }
}

#[test]
fn mutants_are_built_or_refused() {
    let number = |key: &str, default| std::env::var(key).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let (first, count): (u64, u64) = (number("BTC_MUTANT_SEED", 1), number("BTC_MUTANTS", 300));
    let (sources, next, bad) = (sources(), AtomicU64::new(first), Mutex::default());
    std::thread::scope(|scope| {
        for n in 0..number("BTC_MUTANT_JOBS", 1) {
            let (sources, next, bad) = (&sources, &next, &bad);
            // Of the compiler's threads one, so that it keeps what it has read of kernel types.
            scope.spawn(move || on_deep_stack(|| job(n, sources, next, first + count, bad)));
        }
    });
    let bad = bad.into_inner().unwrap();
    let list: Vec<String> =
        bad.iter().map(|(why, (count, mutant))| format!("{count} times {why}:\n{mutant}")).collect();
    assert!(list.is_empty(), "{count} mutants from {first}, {} kinds of faults:\n{}", list.len(), list.join("\n---\n"));
}
