//! What is known about a kernel: types, functions, tracepoints.
//!
//! In: where to look. Out: answers, each source read when it is first needed.
//! Invariants: nothing here fails for what a kernel does not show; a note says
//! so, and the answer is that of the bundled reference, or empty.

use super::{From, Options};
use crate::btf::reference::{NameClass, Reference};
use crate::btf::source::Found;
use crate::btf::tracepoint::{self, FieldPlace, TracepointField, TracepointFormat};
use crate::btf::{BtfSources, Kind};
use anyhow::{Context, Result};
use btc_payload::probe::{is_pattern, left_out, pattern_matches};
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Where tracefs may be mounted.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Present if the kernel can attach kprobes through perf (4.17).
const KPROBE_PMU: &str = "/sys/bus/event_source/devices/kprobe";

/// What the kernel does not let kprobes into: lines are `START-END<tab>NAME`, with ` [MODULE]`.
const BLOCKED: &str = "/sys/kernel/debug/kprobes/blacklist";

/// Functions by module.
type Functions = BTreeMap<String, BTreeSet<String>>;

/// A kernel and the options of a listing.
pub struct Facts {
    pub(super) verbose: bool,
    pub(super) pid: Option<u32>,
    pub(super) debug_dirs: Vec<PathBuf>,
    from: From,
    traceable: Option<PathBuf>,
    btf: OnceCell<Option<BtfSources>>,
    reference: Reference,
    functions: OnceCell<Functions>,
    notes: RefCell<BTreeSet<String>>,
}

impl Facts {
    /// Reads nothing yet but the reference's table of contents.
    pub fn new(options: &Options) -> Result<Self> {
        if let Some(pid) = options.pid {
            fs::metadata(format!("/proc/{pid}")).with_context(|| format!("there is no process {pid}"))?;
        }
        // What was asked for by name must be there; all else is done without.
        let btf = match &options.from {
            From::Files(paths) => OnceCell::from(Some(BtfSources::files(paths)?)),
            _ => OnceCell::new(),
        };
        Ok(Facts {
            verbose: options.verbose,
            pid: options.pid,
            debug_dirs: options.debug_dirs.clone(),
            from: options.from.clone(),
            traceable: options.traceable.clone(),
            btf,
            reference: Reference::load().context("the bundled reference cannot be read")?,
            functions: OnceCell::new(),
            notes: RefCell::default(),
        })
    }

    /// What could not be looked at.
    pub(super) fn notes(&self) -> Vec<String> {
        self.notes.borrow().iter().cloned().collect()
    }

    pub(super) fn note(&self, text: impl Into<String>) {
        self.notes.borrow_mut().insert(text.into());
    }

    /// The kernel's types.
    pub(super) fn btf(&self) -> Option<&BtfSources> {
        let read = || {
            let found = match &self.from {
                From::Running => BtfSources::running().or_else(|e| {
                    self.note(format!("{e:#}; types are those of the bundled reference kernel"));
                    BtfSources::reference()
                }),
                // Read at the beginning.
                From::Files(_) => Ok(BtfSources::none()),
                From::Reference => BtfSources::reference(),
            };
            found.map_err(|e| self.note(format!("{e:#}"))).ok()
        };
        self.btf.get_or_init(read).as_ref()
    }

    /// Functions (module, name) that kprobes can be attached to.
    pub(super) fn functions(&self, module: Option<&str>, name: &str) -> Vec<(String, String)> {
        if self.from != From::Running && self.traceable.is_none() {
            return self.btf_functions(module, name).into_iter().map(|(m, n, _, _)| (m, n)).collect();
        }
        let wanted = self.traceable_functions().iter().filter(|(m, _)| module.is_none_or(|w| pattern_matches(w, m)));
        wanted
            .flat_map(|(m, names)| names.iter().filter(|n| pattern_matches(name, n)).map(|n| (m.clone(), n.clone())))
            .collect()
    }

    /// Functions that BTF describes: module, name, blob, id.
    pub(super) fn btf_functions(&self, module: Option<&str>, name: &str) -> Vec<(String, String, Found, u32)> {
        let Some(sources) = self.btf() else { return Vec::new() };
        let blobs: Vec<Found> = match module {
            Some("vmlinux") => sources.bases().collect(),
            Some(module) if !is_pattern(module) => sources.module(module).collect(),
            _ if !is_pattern(name) => sources.candidates(NameClass::Function, name).collect(),
            _ => sources.bases().chain(sources.modules()).collect(),
        };
        let mut found = Vec::new();
        for blob in blobs {
            let owner = blob.module.as_deref().unwrap_or("vmlinux").to_string();
            if module.is_none_or(|m| pattern_matches(m, &owner)) {
                // Looking one name up is a hundred times cheaper than walking all.
                let named: Vec<(String, u32)> = if is_pattern(name) {
                    let all = blob.btf.named(Kind::Func.bit());
                    all.filter(|(n, _)| pattern_matches(name, n)).map(|(n, id)| (n.to_string(), id)).collect()
                } else {
                    let ids = blob.btf.ids_by_name(name, Kind::Func.bit());
                    ids.map(|id| (name.to_string(), id)).collect()
                };
                found.extend(named.into_iter().map(|(n, id)| (owner.clone(), n, blob.clone(), id)));
            }
        }
        found
    }

    /// Can a function be traced? Known of the running kernel only.
    pub(super) fn is_traceable(&self, module: &str, name: &str) -> bool {
        let known = self.from == From::Running || self.traceable.is_some();
        !known || self.traceable_functions().get(module).is_some_and(|names| names.contains(name))
    }

    fn traceable_functions(&self) -> &Functions {
        self.functions.get_or_init(|| {
            let listed = match &self.traceable {
                Some(path) => fs::read_to_string(path).map_err(|e| self.note(format!("{}: {e}", path.display()))).ok(),
                None => tracefs_file("available_filter_functions"),
            };
            let mut found = match listed.filter(|text| !text.is_empty()) {
                Some(text) => filter_functions(&text),
                None if self.traceable.is_none() && Path::new(KPROBE_PMU).exists() => {
                    text_symbols(&fs::read_to_string("/proc/kallsyms").unwrap_or_default())
                }
                None => {
                    self.note("the kernel shows no functions to trace (available_filter_functions)");
                    Functions::new()
                }
            };
            remove_blocked(&mut found, &fs::read_to_string(BLOCKED).unwrap_or_default());
            found
        })
    }

    /// Tracepoints (category, event) that match, sorted.
    pub(super) fn tracepoints(&self, category: &str, event: &str) -> Vec<(String, String)> {
        match self.events() {
            Some(root) => events_below(&root, category, event),
            None => self.reference.tracepoints(|c, e| pattern_matches(category, c) && pattern_matches(event, e)),
        }
    }

    /// Fields of a tracepoint as the kernel declares them.
    pub(super) fn fields(&self, category: &str, event: &str) -> Vec<String> {
        let format = match self.events() {
            Some(_) => tracepoint::running(category, event).ok(),
            None => self.reference.tracepoint(category, event),
        };
        format.iter().flat_map(TracepointFormat::own_fields).map(declaration).collect()
    }

    /// Where the running system shows its tracepoints.
    fn events(&self) -> Option<PathBuf> {
        if self.from != From::Running {
            return None;
        }
        let roots = TRACEFS.iter().map(|root| Path::new(root).join("events"));
        let found = roots.into_iter().find(|p| p.is_dir());
        if found.is_none() {
            self.note("tracefs cannot be read; tracepoints are those of the bundled reference kernel");
        }
        found
    }
}

/// A file of tracefs, if it can be read.
fn tracefs_file(name: &str) -> Option<String> {
    TRACEFS.iter().find_map(|root| fs::read_to_string(Path::new(root).join(name)).ok())
}

fn events_below(root: &Path, category: &str, event: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    // Those of ftrace itself cannot be switched on (kernel/trace/trace_export.c).
    let usable = |c: &String| c != "ftrace" && pattern_matches(category, c);
    for c in directories(root).into_iter().filter(usable) {
        let events = directories(&root.join(&c)).into_iter().filter(|e| pattern_matches(event, e));
        found.extend(events.map(|e| (c.clone(), e)));
    }
    found.sort();
    found
}

fn directories(at: &Path) -> Vec<String> {
    let entries = fs::read_dir(at).into_iter().flatten().flatten();
    let directories = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
    directories.filter_map(|e| e.file_name().into_string().ok()).collect()
}

/// Lines are `name` or `name [module]`.
fn filter_functions(text: &str) -> Functions {
    let mut found = Functions::new();
    for line in text.lines() {
        let (name, owner) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        insert(&mut found, owner, name);
    }
    found
}

fn remove_blocked(found: &mut Functions, blocked: &str) {
    for line in blocked.lines() {
        let mut parts = line.split_ascii_whitespace().skip(1);
        if let Some(name) = parts.next() {
            let owner = parts.next().map_or("vmlinux", |m| m.trim_matches(['[', ']']));
            found.get_mut(owner).map(|names| names.remove(name));
        }
    }
}

/// Lines are `address type name` or `address type name [module]`.
fn text_symbols(text: &str) -> Functions {
    let mut found = Functions::new();
    for line in text.lines() {
        let mut parts = line.split_ascii_whitespace().skip(1);
        if let (Some("t" | "T"), Some(name)) = (parts.next(), parts.next())
            && !name.contains('.')
            && !name.starts_with("__pfx_")
        {
            insert(&mut found, parts.next().unwrap_or(""), name);
        }
    }
    found
}

fn insert(found: &mut Functions, owner: &str, name: &str) {
    if left_out(name) {
        return;
    }
    let owner = owner.trim().trim_start_matches('[').trim_end_matches(']');
    let owner = if owner.is_empty() { "vmlinux" } else { owner };
    match found.get_mut(owner) {
        Some(names) => {
            names.insert(name.into());
        }
        None => {
            found.insert(owner.into(), BTreeSet::from([name.into()]));
        }
    }
}

/// A field as its format declares it: `__data_loc char[] filename`.
fn declaration(field: &TracepointField) -> String {
    let TracepointField { name, ty, .. } = field;
    match (field.place, field.array) {
        (FieldPlace::DataLoc, _) => format!("__data_loc {ty}[] {name}"),
        (FieldPlace::RelLoc, _) => format!("__rel_loc {ty}[] {name}"),
        (FieldPlace::Inline, None) => format!("{ty} {name}"),
        // Written as a macro of the kernel: the size tells what it is, for bytes.
        (FieldPlace::Inline, Some(0)) => format!("{ty} {name}[{}]", field.size),
        (FieldPlace::Inline, Some(len)) => format!("{ty} {name}[{len}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_by_module() {
        let text = "vfs_read\n__ftrace_invalid_address___68\nxfs_read [xfs]\nvfs_read\n";
        let found = filter_functions(text);
        assert_eq!(found["vmlinux"], BTreeSet::from(["vfs_read".to_string()]));
        assert_eq!(found["xfs"], BTreeSet::from(["xfs_read".to_string()]));
        let mut found = filter_functions("f\nrcu_read\ng.part.0\nh\nx_h [x]\n");
        remove_blocked(&mut found, "0x0-0x8\th\n0x0-0x8\tx_h [x]\n");
        assert_eq!(found["vmlinux"], BTreeSet::from(["f".to_string()]));
        assert!(found["x"].is_empty());
        let text = "0 T vfs_read\n0 t part.0\n0 D data\n0 t xfs_read\t[xfs]\n0 t __pfx_f\n";
        let found = text_symbols(text);
        assert_eq!(found["vmlinux"], BTreeSet::from(["vfs_read".to_string()]));
        assert_eq!(found["xfs"], BTreeSet::from(["xfs_read".to_string()]));
    }

    #[test]
    fn declarations_of_fields() {
        let text = "\tfield:__data_loc char[] name;\toffset:8;\tsize:4;\tsigned:0;\n\
            \tfield:char comm[16];\toffset:12;\tsize:16;\tsigned:0;\n";
        let format = tracepoint::parse("c", "e", None, text);
        let lines: Vec<_> = format.own_fields().map(declaration).collect();
        assert_eq!(lines, ["__data_loc char[] name", "char comm[16]"]);
    }
}
