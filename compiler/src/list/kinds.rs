//! Kinds of probes that can be listed: one table row each.
//!
//! In: a [`Query`]. Out: entries with their parameters. What a kind is called
//! and which names it also has is sema's table; which lists exist is this one.

use super::ctext::CText;
use super::kernel::Facts;
use super::{Entry, Query, binary};
use crate::btf::source::Found;
use crate::btf::{Btf, Kind as BtfKind};
use crate::debuginfo::Binary;
use crate::paths;
use crate::sema::probes;
use anyhow::Result;
use btc_payload::demangle;
use btc_payload::probe::pattern_matches;
use std::collections::{BTreeMap, BTreeSet};

/// Most parameters of functions that fentry takes: those in registers.
const MAX_FENTRY_PARAMS: usize = 6;

/// Functions whose BTF describes a raw tracepoint, newest first. Each has the
/// tracepoint's parameters behind a first one of its own.
const RAW_TRACEPOINT_FUNCTIONS: [&str; 3] = ["__probestub_", "__traceiter_", TEMPLATE_FUNCTION];
/// Templates that several events share have such a function, too.
const TEMPLATE_FUNCTION: &str = "__bpf_trace_";

/// A kind of probe with a list.
pub(super) struct Kind {
    /// Its name.
    pub name: &'static str,
    /// Is there a part before the name: module, category or binary?
    targeted: bool,
    /// Where a pattern instead of a kind finds it.
    scope: Scope,
    /// What there is.
    pub search: fn(&Facts, &Query) -> Result<Vec<Entry>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Always.
    Kernel,
    /// If binaries are named.
    Binary,
    /// Never: it is listed by its own name only.
    Own,
}

/// Sorted by name, which is the order of the output.
static KINDS: &[Kind] = &[
    Kind { name: "fentry", targeted: true, scope: Scope::Kernel, search: |f, q| fentry(f, q, false) },
    Kind { name: "fexit", targeted: true, scope: Scope::Own, search: |f, q| fentry(f, q, true) },
    Kind { name: "hardware", targeted: false, scope: Scope::Kernel, search: |_, q| events(probes::HARDWARE, q) },
    Kind { name: "interval", targeted: false, scope: Scope::Own, search: |_, q| events(UNITS, q) },
    Kind { name: "iter", targeted: false, scope: Scope::Kernel, search: iterators },
    Kind { name: "kprobe", targeted: true, scope: Scope::Kernel, search: |f, q| kprobes(f, q, false) },
    Kind { name: "kretprobe", targeted: true, scope: Scope::Own, search: |f, q| kprobes(f, q, true) },
    Kind { name: "profile", targeted: false, scope: Scope::Own, search: |_, q| events(UNITS, q) },
    Kind { name: "rawtracepoint", targeted: true, scope: Scope::Kernel, search: raw_tracepoints },
    Kind { name: "self", targeted: false, scope: Scope::Own, search: signals },
    Kind { name: "software", targeted: false, scope: Scope::Kernel, search: |_, q| events(probes::SOFTWARE, q) },
    Kind { name: "tracepoint", targeted: true, scope: Scope::Kernel, search: tracepoints },
    Kind { name: "uprobe", targeted: true, scope: Scope::Binary, search: |f, q| uprobes(f, q, false) },
    Kind { name: "uretprobe", targeted: true, scope: Scope::Own, search: |f, q| uprobes(f, q, true) },
    Kind { name: "usdt", targeted: true, scope: Scope::Binary, search: static_probes },
];

/// Units of timers.
const UNITS: &[(&str, &[&str])] = &[("hz", &[]), ("ms", &[]), ("s", &[]), ("us", &[])];

/// The kind of a name, short names included; none if it has no list.
pub(super) fn find(name: &str) -> Option<&'static Kind> {
    let name = probes::provider(name)?.name;
    KINDS.iter().find(|k| k.name == name)
}

/// The kinds that a pattern in place of a kind means.
pub(super) fn matching(pattern: &str, binaries: bool) -> impl Iterator<Item = &'static Kind> {
    let shown = move |k: &&Kind| k.scope == Scope::Kernel || (binaries && k.scope == Scope::Binary);
    KINDS.iter().filter(shown).filter(move |k| pattern_matches(pattern, k.name))
}

impl Kind {
    /// Takes apart what follows the kind's name.
    pub fn query<'a>(&self, rest: &'a str) -> Query<'a> {
        match rest.split_once(':') {
            Some((target, name)) if self.targeted => Query { target: Some(target), name },
            // A binary alone: everything in it.
            None if self.targeted && rest.contains('/') => Query { target: Some(rest), name: "*" },
            _ => Query { target: None, name: rest },
        }
    }
}

fn plain(text: String) -> Entry {
    Entry { text, params: Vec::new() }
}

/// Names of a table with their aliases, each with the colon that its count
/// would follow.
fn events(table: &[(&str, &[&str])], query: &Query) -> Result<Vec<Entry>> {
    let wanted = query.name.split(':').next().unwrap_or("");
    let names = table.iter().flat_map(|(name, aliases)| std::iter::once(name).chain(*aliases));
    Ok(names.filter(|n| pattern_matches(wanted, n)).map(|n| plain(format!("{n}:"))).collect())
}

fn signals(_: &Facts, query: &Query) -> Result<Vec<Entry>> {
    Ok(["signal:SIGUSR1"].iter().filter(|s| pattern_matches(query.name, s)).map(|s| plain((*s).into())).collect())
}

fn tracepoints(facts: &Facts, query: &Query) -> Result<Vec<Entry>> {
    let found = facts.tracepoints(query.target.unwrap_or("*"), query.name);
    let fields = |c: &str, e: &str| if facts.verbose { facts.fields(c, e) } else { Vec::new() };
    Ok(found.iter().map(|(c, e)| Entry { text: format!("{c}:{e}"), params: fields(c, e) }).collect())
}

fn raw_tracepoints(facts: &Facts, query: &Query) -> Result<Vec<Entry>> {
    // The newest kind of function that has an event describes it.
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut events = BTreeMap::new();
    for prefix in RAW_TRACEPOINT_FUNCTIONS {
        for (module, name, blob, id) in facts.btf_functions(query.target, &format!("{prefix}{}", query.name)) {
            let Some(event) = name.strip_prefix(prefix) else { continue };
            let listed = format!("{module}:{event}");
            if prefix == TEMPLATE_FUNCTION && !found.contains_key(&listed) {
                let events = events.entry(module.clone()).or_insert_with(|| event_types(&blob.btf));
                if !events.contains(event) {
                    continue;
                }
            }
            let params = || if facts.verbose { skip(params(&blob, id, None), 1) } else { Vec::new() };
            found.entry(listed).or_insert_with(params);
        }
    }
    Ok(found.into_iter().map(|(text, params)| Entry { text, params }).collect())
}

/// Raw tracepoints that BTF has a type for, which templates have not.
fn event_types(btf: &Btf) -> BTreeSet<String> {
    let types = btf.named(BtfKind::Typedef.bit()).filter_map(|(name, _)| name.strip_prefix("btf_trace_"));
    types.map(str::to_string).collect()
}

fn fentry(facts: &Facts, query: &Query, exit: bool) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    for (module, name, blob, id) in facts.btf_functions(query.target, query.name) {
        if !facts.is_traceable(&module, &name) || prototype(&blob.btf, id).1 > MAX_FENTRY_PARAMS {
            continue;
        }
        let mut shown = Vec::new();
        if facts.verbose {
            shown = params(&blob, id, None);
            shown.extend(if exit { returned(&blob, id) } else { None });
        }
        found.push(Entry { text: format!("{module}:{name}"), params: shown });
    }
    Ok(found)
}

fn kprobes(facts: &Facts, query: &Query, ret: bool) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    for (module, name) in facts.functions(query.target, query.name) {
        let described = facts.verbose.then(|| facts.btf_functions(Some(&module), &name).pop()).flatten();
        let params = match described {
            Some((_, _, blob, id)) if ret => vec![returned(&blob, id).unwrap_or_else(|| "void".into())],
            Some((_, _, blob, id)) => params(&blob, id, Some("arg")),
            None => Vec::new(),
        };
        let text = if query.target.is_some() { format!("{module}:{name}") } else { name };
        found.push(Entry { text, params });
    }
    Ok(found)
}

fn iterators(facts: &Facts, query: &Query) -> Result<Vec<Entry>> {
    const STRUCT: &str = "bpf_iter__";
    let Some(sources) = facts.btf() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for blob in sources.bases() {
        for (name, _) in blob.btf.named(BtfKind::Struct.bit()) {
            // What the verifier knows about a record has a struct of its own
            // (kernel/bpf/verifier.c, 6.4: `__safe_trusted`).
            let Some(kind) = name.strip_prefix(STRUCT).filter(|k| !k.contains("__safe_")) else { continue };
            if !pattern_matches(query.name.split(':').next().unwrap_or(""), kind) {
                continue;
            }
            let function = blob.btf.ids_by_name(&format!("bpf_iter_{kind}"), BtfKind::Func.bit()).next();
            let params = function.filter(|_| facts.verbose).map(|id| skip(params(&blob, id, None), 1));
            found.push(Entry { text: kind.into(), params: params.unwrap_or_default() });
        }
    }
    Ok(found)
}

fn uprobes(facts: &Facts, query: &Query, ret: bool) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    let (name, cpp) = match query.name.strip_prefix("cpp:") {
        Some(name) => (name.trim_matches('"'), true),
        None => (query.name, false),
    };
    let paths = paths::binaries(query.target.unwrap_or("*"), facts.pid);
    for path in paths {
        let functions = binary::functions(&path)?;
        let hit = |f: &&String| if cpp { demangle::matches(f, name) } else { pattern_matches(name, f) };
        let matching = functions.iter().filter(hit);
        // Parameters are shown where there is debug information; often there is none.
        let debug = if facts.verbose && !ret { Binary::open(&path, &facts.debug_dirs).ok() } else { None };
        found.extend(matching.map(|f| Entry {
            text: format!("{}:{}", path.display(), if cpp { cpp_name(f) } else { f.clone() }),
            params: debug.as_ref().map(|d| d.parameter_texts(f)).unwrap_or_default(),
        }));
    }
    Ok(found)
}

/// A symbol as an attach point has it that matches demangled names.
fn cpp_name(symbol: &str) -> String {
    match demangle::demangle(symbol) {
        name if name == symbol => format!("cpp:{symbol}"),
        name => format!("cpp:\"{name}\""),
    }
}

fn static_probes(facts: &Facts, query: &Query) -> Result<Vec<Entry>> {
    let (provider, name) = query.name.split_once(':').unwrap_or(("*", query.name));
    let mut found = Vec::new();
    for path in paths::binaries(query.target.unwrap_or("*"), facts.pid) {
        let probes = binary::static_probes(&path)?;
        let matching = probes.iter().filter(|(p, n)| pattern_matches(provider, p) && pattern_matches(name, n));
        found.extend(matching.map(|(p, n)| plain(format!("{}:{p}:{n}", path.display()))));
    }
    Ok(found)
}

/// Id of a function's prototype, and how many parameters it has.
fn prototype(btf: &Btf, function: u32) -> (u32, usize) {
    let id = btf.record(function).size_or_type;
    (id, btf.record(id).vlen)
}

/// Parameters with their own names, or with numbers behind `numbered`.
fn params(blob: &Found, function: u32, numbered: Option<&str>) -> Vec<String> {
    let text = CText { btf: &blob.btf };
    let (id, count) = prototype(&blob.btf, function);
    let record = blob.btf.record(id);
    (0..count)
        .map(|i| match numbered {
            Some(word) => text.parameter(record.word(2 * i + 1), &format!("{word}{i}")),
            None => text.parameter(record.word(2 * i + 1), blob.btf.string(record.word(2 * i))),
        })
        .collect()
}

/// What a function returns; none if nothing.
fn returned(blob: &Found, function: u32) -> Option<String> {
    let (id, _) = prototype(&blob.btf, function);
    let ty = Some(blob.btf.record(id).size_or_type).filter(|&ty| ty != 0)?;
    Some(CText { btf: &blob.btf }.parameter(ty, "retval"))
}

fn skip(mut lines: Vec<String>, count: usize) -> Vec<String> {
    lines.drain(..count.min(lines.len()));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_output() {
        assert!(KINDS.is_sorted_by_key(|k| k.name));
        assert!(KINDS.iter().all(|k| find(k.name).is_some()));
    }

    #[test]
    fn cpp_names_can_be_attached_to() {
        assert_eq!(cpp_name("_ZN4shop5applyEPFiiEi"), "cpp:\"shop::apply(int (*)(int), int)\"");
        assert_eq!(cpp_name("main"), "cpp:main");
    }

    #[test]
    fn queries_are_split_where_the_kind_has_a_target() {
        let query = |kind: &str, rest: &'static str| {
            let q = find(kind).unwrap().query(rest);
            (q.target, q.name)
        };
        assert_eq!(query("t", "sched:*"), (Some("sched"), "*"));
        assert_eq!(query("s", "faults:100"), (None, "faults:100"));
        assert_eq!(query("usdt", "/bin/x:p:n"), (Some("/bin/x"), "p:n"));
        assert_eq!(query("u", "/bin/x"), (Some("/bin/x"), "*"));
    }
}
