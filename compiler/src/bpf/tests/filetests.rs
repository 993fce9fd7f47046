//! Golden tests: CLIF text in, text out, both in one file.
//!
//! `tests/filetests/legalize` shows CLIF after legalisation and merging,
//! `tests/filetests/bpf` the listing, after the optimiser if the file says
//! `; optimize`. Symbols are declared by `; symbol uN:ID = ...` lines. What
//! follows the line `; expect` is compared; `BTC_BLESS=1` rewrites it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use cranelift_reader::parse_functions;

use crate::bpf::{Listing, canon, compile, legalize};
use crate::clif::{Func, Module, Symbol};
use crate::opt::{self, Level};

const MARKER: &str = "; expect\n";

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/filetests").join(name)
}

/// The functions and symbols of a file.
fn parse(text: &str) -> Result<Module, String> {
    let mut module = Module::new();
    for line in text.lines() {
        let Some(declaration) = line.strip_prefix("; symbol ") else {
            continue;
        };
        let (name, symbol) = declaration.split_once('=').ok_or("a symbol without `=`")?;
        let symbol = Symbol::parse(symbol).ok_or_else(|| format!("bad symbol `{symbol}`"))?;
        let id = module.symbols.intern(symbol);
        let expected = format!("u{}:{}", symbol.namespace() as u32, id.0);
        if name.trim() != expected {
            return Err(format!("symbol `{}` must be called {expected}", name.trim()));
        }
    }
    let functions = parse_functions(text).map_err(|error| error.to_string())?;
    for (index, ir) in functions.into_iter().enumerate() {
        module.funcs.push(Func { name: format!("f{index}"), ir, slot_names: Vec::new() });
    }
    Ok(module)
}

fn legalized(text: &str) -> Result<String, String> {
    let module = parse(text)?;
    let mut out = String::new();
    for func in &module.funcs {
        let mut func = func.clone();
        legalize::legalize(&mut func.ir, &module.symbols)?;
        canon::merge_clones(&mut func.ir);
        out += &func.to_string();
    }
    Ok(out)
}

fn listing(text: &str) -> Result<String, String> {
    let module = parse(text)?;
    let optimize = text.lines().any(|line| line == "; optimize");
    let mut out = String::new();
    for func in &module.funcs {
        let func = match optimize {
            true => opt::optimize(func, Level::Full).map_err(|error| error.to_string())?,
            false => func.clone(),
        };
        match compile(&module, &func) {
            Ok(code) => {
                let listing = Listing::new(&code, &module, &|_| None);
                write!(out, "{}: {} bytes of stack\n{listing}", func.name, code.stack)
                    .map_err(|error| error.to_string())?;
            }
            Err(error) => out += &format!("{error}\n"),
        }
    }
    Ok(out)
}

fn run(name: &str, stage: fn(&str) -> Result<String, String>) {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory(name))
        .expect("the directory of the tests exists")
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "clif"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no tests in {name}");
    let mut failures = String::new();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a readable test");
        let (input, expected) = text.split_once(MARKER).unwrap_or((&text, ""));
        let output = stage(input).unwrap_or_else(|error| format!("error: {error}\n"));
        let actual: String = output.lines().map(|line| format!("; {line}").trim_end().to_owned() + "\n").collect();
        if actual == expected {
            continue;
        }
        if std::env::var_os("BTC_BLESS").is_some() {
            let blessed = format!("{input}{MARKER}{actual}");
            std::fs::write(&path, blessed).expect("a writable test");
        } else {
            failures += &format!("{}:\n{actual}\n", path.display());
        }
    }
    assert!(failures.is_empty(), "BTC_BLESS=1 accepts these:\n{failures}");
}

#[test]
fn legalize_files() {
    run("legalize", legalized);
}

#[test]
fn bpf_files() {
    run("bpf", listing);
}
