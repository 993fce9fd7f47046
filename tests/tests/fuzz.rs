//! Random valid programs: each must compile; as root each must load, run, and
//! print the same with and without the optimiser.
//!
//! The seeds are fixed, so a failure repeats. BTC_FUZZ sets how many programs are
//! made (default 200, at most 20 of them are run), BTC_FUZZ_SEED the first seed.
//! Longer runs and other oracles: the program `fuzz`, see docs/testing.md.
#![allow(clippy::unwrap_used, missing_docs)] // test code

use btc_tests::fuzz::check::Checker;
use btc_tests::fuzz::{Dialect, generate, large};

/// Programs that are run as well: loading takes the kernel longest.
const RUN: u64 = 20;

/// 60 probes of 420 lines, then what a long script has: it must build, and load.
#[test]
fn large_scripts_build_and_load() {
    let dir = tempfile::tempdir().unwrap();
    let load = btc_tests::is_root();
    let checker = Checker {
        btc: btc_tests::btc().unwrap(),
        dir: dir.path().to_path_buf(),
        load,
        unoptimized: false,
        json: false,
        oracle: None,
    };
    for probes in [60, 300] {
        let source = dir.path().join("large.bt");
        std::fs::write(&source, large::large(probes)).unwrap();
        let tracer = dir.path().join("large");
        checker.build(&source, &tracer, "1").unwrap_or_else(|found| panic!("{probes} probes: {}", found.text));
        if load {
            let out = checker.run(&tracer, probes).unwrap_or_else(|found| panic!("{probes} probes: {}", found.text));
            assert!(out.contains("ten keys") && !out.contains("never"), "{out}");
        }
    }
}

#[test]
fn random_programs_compile_and_load() {
    let number = |key: &str, default| std::env::var(key).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let (first, count): (u64, u64) = (number("BTC_FUZZ_SEED", 1), number("BTC_FUZZ", 200));
    let dir = tempfile::tempdir().unwrap();
    let root = btc_tests::is_root();
    if !root {
        eprintln!("not root: the programs are compiled only");
    }
    let mut bad = Vec::new();
    for seed in first..first + count {
        let load = root && seed - first < RUN;
        let checker = Checker {
            btc: btc_tests::btc().unwrap(),
            dir: dir.path().to_path_buf(),
            load,
            unoptimized: load,
            json: false,
            oracle: None,
        };
        let script = generate(seed, Dialect::Full, 3, 6);
        if let Err(found) = checker.check(&script) {
            bad.push(format!("=== seed {seed}: {}\n{}\n{}", found.kind, found.text, script.text()));
        }
    }
    assert!(bad.is_empty(), "{} programs:\n{}", bad.len(), bad.join("\n"));
}
