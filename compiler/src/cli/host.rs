//! `btc --info`: what the running system offers to tracers.
//!
//! In: files of /proc and /sys. Out: text. Nothing is loaded into the kernel:
//! what only trying can tell, a tracer's `--check` tells.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// What a file's existence says.
const SIGNS: &[(&str, &[(&str, &str)])] = &[
    ("Kernel types", &[("kernel BTF", "/sys/kernel/btf/vmlinux"), ("bpffs (pinned iterators)", "/sys/fs/bpf")]),
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

/// The text.
pub(super) fn info() -> String {
    let mut out = String::new();
    let kernel = |name: &str| line(&format!("/proc/sys/kernel/{name}"));
    let _ = writeln!(out, "System");
    let _ = writeln!(out, "  OS: {} {} {}", kernel("ostype"), kernel("osrelease"), kernel("version"));
    let _ = writeln!(out, "  Arch: {}\n", std::env::consts::ARCH);
    let _ = writeln!(out, "Build\n  version: v{}", env!("CARGO_PKG_VERSION"));
    for (title, signs) in SIGNS {
        let _ = writeln!(out, "\n{title}");
        for (name, path) in *signs {
            let _ = writeln!(out, "  {name}: {}", yes(Path::new(path).exists()));
        }
    }
    let modules = fs::read_dir("/sys/kernel/btf").map_or(0, |d| d.count().saturating_sub(1));
    let _ = writeln!(out, "  tracepoint: {}", yes(tracefs("events").is_some()));
    let functions = tracefs("available_filter_functions");
    let listed = functions.is_some_and(|f| fs::File::open(f).is_ok());
    let _ = writeln!(out, "  list of traceable functions: {}", yes(listed));
    let _ = writeln!(out, "  modules with BTF: {modules}");
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
