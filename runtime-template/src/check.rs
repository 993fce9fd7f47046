//! `--check`: would the tracer run here? One line per condition, nothing is
//! attached.
//!
//! In: the manifest and this machine. Out: a table, and whether all is well.

use crate::attach::{Plan, refused};
use crate::context::Context;
use crate::start::missing_features;
use crate::{sys, usage};
use std::fmt::Write;

/// Bit numbers of include/uapi/linux/capability.h.
const CAPABILITIES: &[(&str, u32)] = &[
    ("CAP_DAC_READ_SEARCH", 2),
    ("CAP_SYS_PTRACE", 19),
    ("CAP_SYS_ADMIN", 21),
    ("CAP_SYSLOG", 34),
    ("CAP_PERFMON", 38),
    ("CAP_BPF", 39),
];

/// The table, and whether the tracer can run.
pub fn run(context: &Context<'_>) -> (String, bool) {
    let mut out = String::new();
    let mut good = true;
    let mut line = |ok: bool, what: &str, detail: &str| {
        good &= ok;
        let _ = writeln!(out, "{:4} {what:22} {detail}", if ok { "ok" } else { "FAIL" });
    };
    line(true, "kernel", &sys::kernel_release());
    let btf = context.btf();
    line(btf.is_ok(), "BTF", &btf.as_ref().map_or_else(|e| format!("{e:#}"), |_| "found".into()));
    let missing = missing_capabilities(context);
    let detail =
        if missing.is_empty() { "enough".into() } else { format!("missing {}; run as root", missing.join(", ")) };
    line(missing.is_empty(), "privileges", &detail);
    let lacking = missing_features(context.manifest, &context.features);
    for r in &context.manifest.requirements {
        let (name, since) = crate::target::features::describe(r.feature);
        let has = context.features.has(r.feature);
        line(has, "feature", &format!("{name} (Linux {since}) for {}", r.construct));
    }
    debug_assert!(lacking.len() <= context.manifest.requirements.len());
    match Plan::new(context) {
        Ok(plan) => {
            for (i, p) in context.manifest.programs.iter().enumerate() {
                let places: usize = plan.units.iter().filter(|u| u.program == i).map(|u| u.places.len()).sum();
                match places {
                    0 => {}
                    // The compiler's own: part of another one.
                    _ if p.written.is_empty() => {}
                    1 => match plan.units.iter().filter(|u| u.program == i).find_map(|u| refused(&u.places[0].how)) {
                        Some(why) => line(false, "probe", &format!("{}: {why:#}", p.written)),
                        None => line(true, "probe", &p.written),
                    },
                    n => line(true, "probe", &format!("{} ({n} places)", p.written)),
                }
            }
            for m in &plan.missing {
                line(false, "probe", m);
            }
        }
        Err(e) => line(false, "probes", &format!("{e:#}")),
    }
    (out, good)
}

/// Capabilities that the script takes and this process lacks.
pub fn missing_capabilities(context: &Context<'_>) -> Vec<&'static str> {
    let held = effective();
    let has = |name: &str| CAPABILITIES.iter().any(|c| c.0 == name && held >> c.1 & 1 == 1);
    // CAP_SYS_ADMIN comprises the two that BPF brought (include/linux/capability.h).
    if has("CAP_SYS_ADMIN") {
        return Vec::new();
    }
    usage::capabilities(context.manifest)
        .into_iter()
        // What only some systems demand is not worth refusing to start.
        .filter(|n| matches!(*n, "CAP_BPF" | "CAP_PERFMON") && !has(n))
        .collect()
}

fn effective() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    // Without /proc nothing is known: let the kernel decide.
    line.and_then(|l| u64::from_str_radix(l.trim(), 16).ok()).unwrap_or(u64::MAX)
}
