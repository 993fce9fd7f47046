//! Kernel functions that can be traced, and their addresses.
//!
//! In: `available_filter_functions`, `/proc/kallsyms`, or a file given by the
//! user. Out: names with their module. Read only when a script needs it: both
//! files take tens of milliseconds.

use anyhow::{Context, Result};
use btc_payload::probe::{left_out, pattern_matches};
use std::io::{BufRead, BufReader};

/// A kernel function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Function {
    /// Name.
    pub name: String,
    /// Module; `vmlinux` for what is built in.
    pub module: String,
}

/// Functions that match, sorted, each once.
pub fn matching(module: Option<&str>, pattern: &str, listed: Option<&str>) -> Result<Vec<Function>> {
    let mut found = Vec::new();
    let mut consider = |name: &str, owner: &str| {
        if pattern_matches(pattern, name) && module.is_none_or(|m| pattern_matches(m, owner)) && !left_out(name) {
            found.push(Function { name: name.into(), module: owner.into() });
        }
    };
    match (listed, filter_functions()) {
        (Some(path), _) | (None, Some(path)) => each_filter_function(path, &mut consider)?,
        (None, None) => each_text_symbol(&mut consider)?,
    }
    found.sort();
    found.dedup();
    for name in blocked(&blacklist()) {
        if let Ok(place) = found.binary_search_by(|f| f.name.as_str().cmp(name)) {
            found.remove(place);
        }
    }
    Ok(found)
}

/// What the kernel does not let kprobes into; empty where debugfs is not mounted.
pub fn blacklist() -> String {
    std::fs::read_to_string("/sys/kernel/debug/kprobes/blacklist").unwrap_or_default()
}

/// The functions in it. Lines are `START-END<tab>NAME`, with ` [MODULE]` behind it for one of
/// a module (kernel/kprobes.c).
pub fn blocked(blacklist: &str) -> impl Iterator<Item = &str> {
    blacklist.lines().filter_map(|l| l.split_ascii_whitespace().nth(1))
}

/// Path of `available_filter_functions` when it can be read.
fn filter_functions() -> Option<&'static str> {
    const PATHS: [&str; 2] =
        ["/sys/kernel/tracing/available_filter_functions", "/sys/kernel/debug/tracing/available_filter_functions"];
    PATHS.into_iter().find(|p| std::fs::File::open(p).is_ok())
}

/// Lines are `name` or `name [module]`.
fn each_filter_function(path: &str, consider: &mut impl FnMut(&str, &str)) -> Result<()> {
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {path}"))?;
    for line in BufReader::new(file).lines() {
        let line = line.with_context(|| format!("cannot read {path}"))?;
        let (name, rest) = line.split_once([' ', '\t']).unwrap_or((&line, ""));
        let owner = rest.trim().trim_start_matches('[').trim_end_matches(']');
        consider(name, if owner.is_empty() { "vmlinux" } else { owner });
    }
    Ok(())
}

/// The fallback: text symbols of kallsyms, without what cannot be probed.
fn each_text_symbol(consider: &mut impl FnMut(&str, &str)) -> Result<()> {
    each_kernel_symbol(&mut |_, kind, name, owner| {
        // Symbols with a dot are parts and clones that compilers make; those
        // of `.isra` and `.constprop` have other arguments than their source.
        if matches!(kind, b't' | b'T') && !name.contains('.') && !name.starts_with("__pfx_") {
            consider(name, owner);
        }
        true
    })
}

/// Calls `f(address, type, name, module)` for each kernel symbol until it returns false.
pub fn each_kernel_symbol(f: &mut dyn FnMut(u64, u8, &str, &str) -> bool) -> Result<()> {
    let file = std::fs::File::open("/proc/kallsyms").context("cannot read /proc/kallsyms")?;
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    let mut line = String::new();
    while reader.read_line(&mut line).context("cannot read /proc/kallsyms")? > 0 {
        let mut parts = line.split_ascii_whitespace();
        if let (Some(address), Some(kind), Some(name)) = (parts.next(), parts.next(), parts.next())
            && let Ok(address) = u64::from_str_radix(address, 16)
        {
            let owner = parts.next().map_or("vmlinux", |m| m.trim_start_matches('[').trim_end_matches(']'));
            if !f(address, kind.as_bytes().first().copied().unwrap_or(b'?'), name, owner) {
                break;
            }
        }
        line.clear();
    }
    Ok(())
}

/// Address of a kernel symbol; 0 where the kernel hides addresses.
pub fn address(symbol: &str) -> Result<Option<u64>> {
    let mut found = None;
    each_kernel_symbol(&mut |address, _, name, _| {
        if name == symbol {
            found = Some(address);
        }
        found.is_none()
    })?;
    Ok(found)
}
