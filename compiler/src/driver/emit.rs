//! Dumps of the stages behind lowering, and what is derived from the script's text.

use super::object::Compiled;
use crate::bpf::print::Listing;
use crate::btf::core::CoreId;
use crate::clif::Symbol;
use crate::ctypes::TypeStore;
use crate::lower::Lowered;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// CLIF of all functions as lowered.
pub(super) fn clif(lowered: &Lowered) -> String {
    let mut out = String::new();
    for (id, symbol) in lowered.module.symbols.iter() {
        let _ = writeln!(out, "; symbol {}: {symbol}", id.0);
    }
    for f in &lowered.module.funcs {
        let _ = writeln!(out, "{f}");
    }
    out
}

/// CLIF of all functions after the optimiser.
pub(super) fn optimized(compiled: &[Compiled]) -> String {
    compiled.iter().fold(String::new(), |mut out, c| {
        let _ = writeln!(out, "{}", c.optimized);
        out
    })
}

/// BPF assembly of all functions.
pub(super) fn assembly(lowered: &Lowered, compiled: &[Compiled], types: &TypeStore) -> String {
    let name = |symbol: Symbol| match symbol {
        Symbol::Map(n) => lowered.manifest.maps.get(n as usize).map(|m| m.name.clone()),
        Symbol::Core { record, .. } => Some(lowered.core.display(types, CoreId(record))),
        Symbol::Ctx { record, .. } => lowered.operands.get(record as usize).map(|o| format!("{o:?}")),
        Symbol::Subprog(f) => Some(lowered.module.func(f).name.clone()),
        Symbol::Ksym(n) => lowered.ksyms.get(n as usize).map(|k| k.name.clone()),
        Symbol::Imported(n) => lowered.imported.get(n as usize).cloned(),
        Symbol::Opaque(_) | Symbol::Rodata(_) | Symbol::Data(_) => None,
    };
    let mut out = String::new();
    for (func, done) in lowered.module.funcs.iter().zip(compiled) {
        let _ = writeln!(out, "{}: ; {} bytes of stack", func.name, done.code.stack);
        let _ = writeln!(out, "{}", Listing::new(&done.code, &lowered.module, &name));
    }
    out
}

/// SHA-256 in hex.
pub(super) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

/// The comment at the head of a script, without the signs of a comment.
pub(super) fn about(text: &str) -> String {
    let text = text.strip_prefix("#!").map_or(text, |rest| rest.split_once('\n').map_or("", |(_, t)| t));
    let text = text.trim_start();
    if let Some(rest) = text.strip_prefix("/*") {
        let body = rest.split("*/").next().unwrap_or("");
        let lines = body.lines().map(|l| {
            let l = l.trim_end();
            let bare = l.trim_start();
            match bare.strip_prefix('*') {
                Some(b) => b.strip_prefix(' ').unwrap_or(b).to_string(),
                None => bare.to_string(),
            }
        });
        return lines.collect::<Vec<_>>().join("\n").trim().to_string();
    }
    let lines = text.lines().map_while(|l| l.trim_start().strip_prefix("//"));
    lines.map(|l| l.strip_prefix(' ').unwrap_or(l).trim_end()).collect::<Vec<_>>().join("\n").trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_comments() {
        assert_eq!(about("#!/usr/bin/env btc\n// a tool\n//   usage\n\nBEGIN {}"), "a tool\n  usage");
        assert_eq!(about("/*\n * a tool\n *   usage\n */\nBEGIN {}"), "a tool\n  usage");
        assert_eq!(about("BEGIN {} // not this"), "");
    }
}
