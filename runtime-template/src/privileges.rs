//! Capabilities: which a script takes, which are missing, and which are given up
//! once everything is attached.
//!
//! In: the manifest, the command line, this process. Out: names for messages; a
//! process that can do no more than what is left to do.
//!
//! What is left is: reading maps, running END, finding names of addresses. Commands
//! that the script starts must be able to do what the user can, so a script with
//! `system()` gives up nothing. Nor does one that sets watchpoints later: perf events
//! are for CAP_SYS_ADMIN only where perf_event_paranoid is 3 (Debian), and processes that
//! were stopped for their watchpoint must go on, whoever owns them.

use crate::context::Context;
use crate::{sys, usage};
use btc_payload::event::Action;

/// Bit numbers of include/uapi/linux/capability.h, and whether a running tracer
/// still needs them: to use its maps (kernels before 6.0 ask for CAP_BPF), and to
/// read of processes and the kernel what names are made of.
const CAPABILITIES: &[(&str, u32, bool)] = &[
    ("CAP_DAC_READ_SEARCH", 2, true),
    ("CAP_SYS_PTRACE", 19, true),
    ("CAP_SYS_ADMIN", SYS_ADMIN, false),
    ("CAP_SYSLOG", 34, true),
    ("CAP_PERFMON", 38, true),
    ("CAP_BPF", 39, true),
];

const DAC_OVERRIDE: u32 = 1;
const SYS_ADMIN: u32 = 21;

/// Has this process the capability that comprises the others?
pub fn is_admin() -> bool {
    sys::capabilities() >> SYS_ADMIN & 1 == 1
}

/// Capabilities that the script takes and this process lacks.
pub fn missing(context: &Context<'_>) -> Vec<&'static str> {
    let held = sys::capabilities();
    let has = |name: &str| CAPABILITIES.iter().any(|c| c.0 == name && held >> c.1 & 1 == 1);
    // CAP_SYS_ADMIN comprises the two that BPF brought (include/linux/capability.h).
    if is_admin() {
        return Vec::new();
    }
    usage::capabilities(context.manifest)
        .into_iter()
        // What only some systems demand is not worth refusing to start.
        .filter(|n| matches!(*n, "CAP_BPF" | "CAP_PERFMON") && !has(n))
        .collect()
}

/// Gives up what a running tracer does not need.
pub fn give_up(context: &Context<'_>) {
    let events = || context.manifest.events.iter().map(|e| &e.action);
    if events().any(|a| matches!(a, Action::System(_) | Action::Watch { .. })) {
        return;
    }
    let mut keep = CAPABILITIES.iter().filter(|c| c.2).fold(0u64, |all, c| all | 1 << c.1);
    // Files that are read or opened later, by whatever owner.
    let files = events().any(|a| matches!(a, Action::Cat(_) | Action::SkbOutput { .. }));
    if files || context.options.output.is_some() {
        keep |= 1 << DAC_OVERRIDE;
    }
    sys::keep_capabilities(keep);
}
