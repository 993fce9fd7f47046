//! Golden tests of the parser: `tests/filetests/ast/*.bt`.
//!
//! A file is a script followed by a marker line and, as comments, the tree or
//! the messages expected for it. `BTC_BLESS=1 cargo test` rewrites them.

use btc::diagnostic::{Diagnostics, render};
use btc::span::SourceMap;
use btc::syntax::parse::{ParseOptions, parse_script};
use btc::syntax::print::dump;
use std::path::{Path, PathBuf};

const MARKER: &str = "// ==== ast ====\n";

/// Words that the scripts here may use as values.
const VALUES: [&str; 5] = ["pid", "tid", "comm", "args", "arg0"];

fn scripts() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/filetests/ast");
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("readable directory").path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "bt"));
    files.sort();
    files
}

/// The tree of a script, or its messages.
fn result(name: &str, script: &str) -> String {
    let mut sources = SourceMap::default();
    let file = sources.add(name, None, script.to_string());
    let mut found = Diagnostics::default();
    let options = ParseOptions { is_value: &|w| VALUES.contains(&w) };
    let tree = parse_script(file, script, &options, &mut found).map(|s| dump(&s, &sources));
    let messages = found.sorted().into_iter().map(|d| render(d, &sources, false));
    tree.into_iter().chain(messages).collect()
}

#[test]
fn trees_are_as_recorded() {
    let bless = std::env::var_os("BTC_BLESS").is_some_and(|v| v == "1");
    let files = scripts();
    assert!(!files.is_empty());
    let mut wrong = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("readable script");
        let (script, recorded) = text.split_once(MARKER).unwrap_or((&text, ""));
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let lines = result(&name, script);
        let actual: String = lines.lines().map(|l| format!("// {l}").trim_end().to_string() + "\n").collect();
        if actual == recorded {
            continue;
        }
        if bless {
            std::fs::write(&path, format!("{script}{MARKER}{actual}")).expect("writable script");
        } else {
            println!("{name}: expected\n{recorded}\nfound\n{actual}");
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "differ: {wrong:?} (BTC_BLESS=1 records what is found)");
}
