//! `btc --info`: what the running system offers to tracers.
//!
//! In: files of /proc and /sys, and the kernel's types, which tell what it was built
//! with. Out: text. Nothing is loaded into the kernel: what only trying can tell, a
//! tracer's `--check` tells.

use crate::btf::raw::{Btf, Kind};
use crate::btf::source::BtfSources;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// What a file's existence says.
const SIGNS: &[(&str, &[(&str, &str)])] = &[
    ("Kernel types", &[("btf", "/sys/kernel/btf/vmlinux"), ("bpffs (pinned iterators)", "/sys/fs/bpf")]),
    (
        "Probe types",
        &[
            ("kprobe", "/sys/bus/event_source/devices/kprobe"),
            ("uprobe", "/sys/bus/event_source/devices/uprobe"),
            ("software", "/sys/bus/event_source/devices/software"),
            ("hardware", "/sys/bus/event_source/devices/cpu"),
            ("watchpoint", "/sys/bus/event_source/devices/breakpoint"),
        ],
    ),
];

/// What shows in the kernel's types.
enum Trace {
    /// A helper, by its number's name.
    Helper(&'static str),
    /// A struct that is there only with the feature.
    Struct(&'static str),
    /// A value of an enumeration, and a struct.
    Both(&'static str, &'static str),
}

/// What the kernel's types say, under the names that bpftrace has for it.
const TRACES: &[(&str, &[(&str, Trace)])] = &[
    (
        "Kernel helpers",
        &[
            ("probe_read_kernel", Trace::Helper("BPF_FUNC_probe_read_kernel")),
            ("dpath", Trace::Helper("BPF_FUNC_d_path")),
            ("send_signal", Trace::Helper("BPF_FUNC_send_signal")),
            ("skboutput", Trace::Helper("BPF_FUNC_skb_output")),
            ("get_func_ip", Trace::Helper("BPF_FUNC_get_func_ip")),
            ("get_tai_ns", Trace::Helper("BPF_FUNC_ktime_get_tai_ns")),
            ("jiffies64", Trace::Helper("BPF_FUNC_jiffies64")),
            ("lookup_percpu_elem", Trace::Helper("BPF_FUNC_map_lookup_percpu_elem")),
            ("loop", Trace::Helper("BPF_FUNC_loop")),
        ],
    ),
    (
        "Attaching",
        &[
            // kernel/trace/bpf_trace.c: with CONFIG_FPROBE.
            ("kprobe_multi", Trace::Struct("bpf_kprobe_multi_link")),
            ("kprobe_session", Trace::Both("BPF_TRACE_KPROBE_SESSION", "bpf_kprobe_multi_link")),
            ("uprobe_multi", Trace::Struct("bpf_uprobe_multi_link")),
            ("iter", Trace::Struct("bpf_iter__task")),
        ],
    ),
];

fn shows(btf: &Btf, trace: &Trace) -> bool {
    let is_struct = |name: &str| btf.ids_by_name(name, Kind::Struct.bit()).next().is_some();
    match trace {
        Trace::Helper(name) => btf.enumerator(name).is_some(),
        Trace::Struct(name) => is_struct(name),
        Trace::Both(value, name) => btf.enumerator(value).is_some() && is_struct(name),
    }
}

/// The text.
pub(super) fn info() -> String {
    let mut out = String::new();
    let kernel = |name: &str| line(&format!("/proc/sys/kernel/{name}"));
    let _ = writeln!(out, "System");
    let _ = writeln!(out, "  OS: {} {} {}", kernel("ostype"), kernel("osrelease"), kernel("version"));
    let _ = writeln!(out, "  Arch: {}\n", std::env::consts::ARCH);
    let _ = writeln!(out, "Build\n  version: v{}", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(out, "  DWARF support: yes");
    for (title, signs) in SIGNS {
        let _ = writeln!(out, "\n{title}");
        for (name, path) in *signs {
            let _ = writeln!(out, "  {name}: {}", yes(Path::new(path).exists()));
        }
    }
    let sources = BtfSources::running().ok();
    let btf = sources.as_ref().and_then(|s| s.bases().next()).map(|found| found.btf);
    let modules = fs::read_dir("/sys/kernel/btf").map_or(0, |d| d.count().saturating_sub(1));
    let _ = writeln!(out, "  tracepoint: {}", yes(tracefs("events").is_some()));
    let functions = tracefs("available_filter_functions");
    let listed = functions.is_some_and(|f| fs::File::open(f).is_ok());
    let _ = writeln!(out, "  list of traceable functions: {}", yes(listed));
    let _ = writeln!(out, "  modules with BTF: {modules}");
    for (title, traces) in TRACES {
        let _ = writeln!(out, "\n{title}");
        for (name, trace) in *traces {
            let _ = writeln!(out, "  {name}: {}", yes(btf.as_ref().is_some_and(|btf| shows(btf, trace))));
        }
    }
    let _ = writeln!(out, "\nA tracer tells with --check whether the kernel has what its script needs.");
    out
}

fn tracefs(name: &str) -> Option<std::path::PathBuf> {
    let roots = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    roots.iter().map(|root| Path::new(root).join(name)).find(|p| p.exists())
}

fn line(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "?".into(), |text| text.trim().to_string())
}

fn yes(present: bool) -> &'static str {
    if present { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_tell_what_there_is() {
        let reference = BtfSources::reference().unwrap();
        let btf = reference.bases().next().unwrap().btf;
        assert!(shows(&btf, &Trace::Helper("BPF_FUNC_loop")));
        assert!(shows(&btf, &Trace::Both("BPF_TRACE_KPROBE_SESSION", "bpf_kprobe_multi_link")));
        assert!(!shows(&btf, &Trace::Struct("no_such_struct")) && !shows(&btf, &Trace::Helper("BPF_FUNC_none")));
        assert!(info().contains("kprobe_session: "));
    }
}
