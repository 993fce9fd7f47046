//! Embeds the runtime into btc.
//!
//! In: the runtime's executable, which `make build` builds first (or the file
//! that `BTC_RUNTIME` names), and the runtime's sources. Out: `$OUT_DIR/runtime`
//! (empty when there is none, so that checks and unit tests need no runtime)
//! and `$OUT_DIR/runtime_sources.rs`, the sources for `--emit crate`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Where `make build` leaves the runtime, from the workspace's root.
const BUILT_RUNTIME: &str = "target/stub/x86_64-unknown-linux-gnu/stub/btc-runtime";

/// What `--emit crate` writes out, from the workspace's root; directories with all that is in them.
const SOURCES: [&str; 7] = [
    "Cargo.toml",
    "Cargo.lock",
    "runtime-template/Cargo.toml",
    "runtime-template/stub.ld",
    "runtime-template/src",
    "runtime-template/payload/Cargo.toml",
    "runtime-template/payload/src",
];

fn main() -> io::Result<()> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("..").canonicalize()?;
    let out = PathBuf::from(variable("OUT_DIR")?);
    embed_executable(&root, &out)?;
    embed_sources(&root, &out)
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(|e| io::Error::other(format!("{name}: {e}")))
}

fn embed_executable(root: &Path, out: &Path) -> io::Result<()> {
    println!("cargo::rerun-if-env-changed=BTC_RUNTIME");
    let named = env::var_os("BTC_RUNTIME").filter(|v| !v.is_empty()).map(PathBuf::from);
    let path = named.clone().unwrap_or_else(|| root.join(BUILT_RUNTIME));
    println!("cargo::rerun-if-changed={}", path.display());
    let bytes = match fs::read(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound && named.is_none() => Vec::new(),
        read => read.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?,
    };
    fs::write(out.join("runtime"), bytes)
}

fn embed_sources(root: &Path, out: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
        collect(&root.join(source), &mut files)?;
    }
    files.sort();
    let mut text = String::from("static RUNTIME_SOURCES: &[(&str, &str)] = &[\n");
    for path in &files {
        let name = path.strip_prefix(root).map_err(io::Error::other)?;
        writeln!(text, "    ({:?}, include_str!({:?})),", name.display().to_string(), path.display().to_string())
            .map_err(io::Error::other)?;
    }
    text.push_str("];\n");
    fs::write(out.join("runtime_sources.rs"), text)
}

/// Adds a file, or all files below a directory.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else {
        files.push(path.to_path_buf());
    }
    Ok(())
}
