//! Every script of the cases, slightly broken: btc must build or refuse it, and
//! never panic, hang, or call itself broken.
//!
//! The mutations come from a fixed seed, so a failure repeats. BTC_MUTANTS sets
//! how many are tried (default 300), BTC_MUTANT_SEED where they start.
#![allow(clippy::unwrap_used, missing_docs)] // test code

use std::fs;
use std::process::Command;

use btc_tests::fuzz::random::Random;
use btc_tests::{case, process, root};

/// Splits a script into words, numbers, spaces and single other characters.
fn tokens(script: &str) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    let class = |c: char| {
        if c.is_alphanumeric() || c == '_' { 1 } else { 0 }
    };
    let mut last = 0;
    for c in script.chars() {
        if class(c) == 1 && last == 1 {
            list.last_mut().unwrap().push(c);
        } else {
            list.push(c.to_string());
        }
        last = class(c);
    }
    list
}

const SPLICES: &[&str] = &[
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "@",
    "$",
    "\"",
    "/",
    "*",
    "->",
    ".",
    "==",
    "-",
    "0",
    "18446744073709551615",
    "-1",
    "comm",
    "args",
    "retval",
    "kstack",
    "count()",
    "hist(1)",
    "(1, \"a\")",
    "str(0)",
    "struct task_struct",
    "nosuch",
    ";",
    "? 1 : 2",
    "while (1) {}",
    "for ($i : 0..10) {}",
    "delete(@a)",
    "BEGIN",
    "kprobe:f",
    "macro",
    "\u{e9}",
];

fn mutate(script: &str, random: &mut Random) -> String {
    let mut list = tokens(script);
    for _ in 0..1 + random.below(3) {
        let at = random.below(list.len());
        let other = random.below(list.len());
        match random.below(20) {
            0 => list.truncate(at),
            1 => {
                list.drain(..at);
            }
            2..=5 => {
                list.remove(at);
            }
            6..=8 => list.insert(at, list[other].clone()),
            9..=12 => list.swap(at, other),
            13..=16 => list.insert(at, SPLICES[random.below(SPLICES.len())].to_owned()),
            _ => list[at] = SPLICES[random.below(SPLICES.len())].to_owned(),
        }
        if list.is_empty() {
            break;
        }
    }
    list.concat()
}

#[test]
fn mutants_are_built_or_refused() {
    let number = |key: &str, default| std::env::var(key).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let mut random = Random::new(number("BTC_MUTANT_SEED", 1));
    let mut scripts: Vec<_> = case::all(&root().join("tests/cases")).unwrap();
    scripts.retain(|c| !c.script.is_empty());
    assert!(scripts.iter().any(|c| c.name.starts_with("example-")), "the examples are among the cases");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mutant.bt");
    let mut bad = Vec::new();
    for _ in 0..number("BTC_MUTANTS", 300) {
        let source = &scripts[random.below(scripts.len())];
        let mutant = mutate(&source.script, &mut random);
        fs::write(&path, &mutant).unwrap();
        let mut command = Command::new(btc_tests::btc().unwrap());
        command.args(["build", "--unsafe"]).arg(&path).arg("-o").arg(dir.path().join("tracer"));
        let got = process::bounded(&command, 20).unwrap();
        if !matches!(got.status, 0 | 1) || got.err.contains("panicked") || got.err.contains("internal error") {
            bad.push(format!(
                "=== {} ({})\n{mutant}\n--- {}",
                source.name,
                got.status,
                btc_tests::verdict::tail(&got.err)
            ));
        }
    }
    assert!(bad.is_empty(), "{} mutants:\n{}", bad.len(), bad.join("\n"));
}
