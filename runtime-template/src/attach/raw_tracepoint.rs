//! Raw tracepoints: the tracepoint's own arguments, without a record.

use super::{Found, How};
use crate::context::Context;
use crate::sys;
use crate::target::btf::{Argument, Btf};
use anyhow::{Context as _, Result};
use btc_payload::probe::{Text, is_pattern, pattern_matches};
use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

/// Where the kernel shows its types and those of its modules.
const BTF: &str = "/sys/kernel/btf";
/// The kernel itself, among modules.
const KERNEL: &str = "vmlinux";

/// Finds the modules that have the raw tracepoint. A plain name without a module is
/// left to the kernel, unless its full name is `shown`.
pub fn expand(context: &Context<'_>, module: Option<&Text>, event: &Text, shown: bool) -> Result<Vec<Found>> {
    let event = context.text(event)?;
    let module = module.map(|m| context.text(m)).transpose()?;
    let found = |module: &str, event: &str| Found {
        probe: format!("rawtracepoint:{module}{event}"),
        function: event.to_string(),
        how: How::RawTracepoint { event: event.to_string() },
    };
    let (plain, any) = (!is_pattern(&event), module.is_none());
    if plain && any && !shown {
        return Ok(vec![found("", &event)]);
    }
    let wanted = module.as_deref().unwrap_or("*");
    let mut matching = Vec::new();
    let mut modules = modules();
    modules.retain(|m| pattern_matches(wanted, m));
    // The kernel's own come first, and no other is asked where one must have the name.
    if let Some(kernel) = modules.iter().position(|m| m == KERNEL) {
        modules.swap(0, kernel);
    }
    for module in &modules {
        let own = context.options.btf.as_deref().filter(|_| module == KERNEL);
        let path = own.map_or_else(|| Path::new(BTF).join(module), Path::to_path_buf);
        // A module may go away meanwhile.
        let Ok(btf) = std::fs::read(path) else { continue };
        let mut names = names(&btf, &event);
        names.sort();
        matching.extend(names.iter().map(|name| found(&format!("{module}:"), name)));
        if plain && !matching.is_empty() {
            break;
        }
    }
    // Modules have BTF since 5.11 only: what cannot be looked up the kernel is asked for.
    if plain && any && matching.is_empty() {
        matching.push(found("", &event));
    } else if plain && modules.is_empty() && Path::new("/sys/module").join(wanted).exists() {
        matching.push(found(&format!("{wanted}:"), &event));
    }
    Ok(matching)
}

/// The kernel and the modules that have BTF.
fn modules() -> Vec<String> {
    let files = std::fs::read_dir(BTF).into_iter().flatten().flatten();
    files.filter_map(|f| f.file_name().into_string().ok()).collect()
}

/// Raw tracepoints that match, by BTF's strings: for each there is a type
/// `btf_trace_NAME` (include/trace/bpf_probe.h), and nothing else has such a name.
fn names(btf: &[u8], pattern: &str) -> Vec<String> {
    let strings = btf.split(|&b| b == 0).filter_map(|s| s.strip_prefix(b"btf_trace_"));
    let names = strings.filter_map(|s| std::str::from_utf8(s).ok());
    names.filter(|n| pattern_matches(pattern, n)).map(str::to_string).collect()
}

/// Where an argument is, by the types of the kernel or of the module that has the event.
pub fn argument(context: &Context<'_>, event: &str, name: &str) -> Result<Option<Argument>> {
    let own = context.btf()?.tracepoint_argument(event, name);
    if own.is_ok() {
        return own;
    }
    let has =
        |m: &String| m != KERNEL && std::fs::read(Path::new(BTF).join(m)).is_ok_and(|b| !names(&b, event).is_empty());
    match modules().into_iter().find(has) {
        Some(m) => Btf::module(&m, Btf::kernel(context.options.btf.as_deref())?)?.tracepoint_argument(event, name),
        None => own,
    }
}

/// Attaches.
pub fn attach(event: &str, program: BorrowedFd<'_>) -> Result<Vec<OwnedFd>> {
    let name = CString::new(event).context("the name holds a NUL")?;
    let fd = sys::raw_tracepoint_open(program, Some(&name))
        .context("this kernel has no such raw tracepoint; its module may not be loaded")?;
    Ok(vec![fd])
}
