//! Perf events: software, hardware, and what timers and watchpoints make of them.

use super::{Found, How};
use crate::context::Context;
use crate::sys::{self, PERF_DISABLED, PERF_INHERIT, PerfAttr};
use anyhow::{Context as _, Result};
use btc_payload::probe::Number;
use std::os::fd::{BorrowedFd, OwnedFd};

/// `PERF_TYPE_HARDWARE`.
pub const TYPE_HARDWARE: u32 = 0;
/// `PERF_TYPE_SOFTWARE`.
pub const TYPE_SOFTWARE: u32 = 1;
/// `PERF_TYPE_BREAKPOINT`.
pub const TYPE_BREAKPOINT: u32 = 5;

/// A perf event to open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// `PERF_TYPE_*`.
    pub kind: u32,
    /// Event of that type.
    pub config: u64,
    /// Events per hit.
    pub period: u64,
    /// On one CPU instead of on all.
    pub one_cpu: bool,
    /// Never restricted to a process.
    pub never_pid: bool,
    /// Restricted to the traced process even when the program filters, too.
    pub always_pid: bool,
    /// Breakpoint: kind, address, length.
    pub breakpoint: Option<(u32, u64, u64)>,
}

/// Names, number and default period.
type Row = (&'static [&'static str], u64, u64);

const SOFTWARE: &[Row] = &[
    (&["cpu-clock", "cpu"], 0, 1_000_000),
    (&["task-clock"], 1, 1_000_000),
    (&["page-faults", "faults"], 2, 100),
    (&["context-switches", "cs"], 3, 1_000),
    (&["cpu-migrations"], 4, 1),
    (&["minor-faults"], 5, 100),
    (&["major-faults"], 6, 1),
    (&["alignment-faults"], 7, 1),
    (&["emulation-faults"], 8, 1),
    (&["dummy"], 9, 1),
    (&["bpf-output"], 10, 1),
];

const HARDWARE: &[Row] = &[
    (&["cpu-cycles", "cycles"], 0, 1_000_000),
    (&["instructions"], 1, 1_000_000),
    (&["cache-references"], 2, 1_000_000),
    (&["cache-misses"], 3, 1_000_000),
    (&["branch-instructions", "branches"], 4, 100_000),
    (&["branch-misses"], 5, 100_000),
    (&["bus-cycles"], 6, 100_000),
    (&["frontend-stalls", "stalled-cycles-frontend"], 7, 1_000_000),
    (&["backend-stalls", "stalled-cycles-backend"], 8, 1_000_000),
    (&["ref-cycles"], 9, 1_000_000),
];

/// `software:EVENT:COUNT`.
pub fn software(context: &Context<'_>, written: &str, event: &str, count: Option<Number>) -> Result<Vec<Found>> {
    expand(context, written, TYPE_SOFTWARE, SOFTWARE, event, count)
}

/// `hardware:EVENT:COUNT`.
pub fn hardware(context: &Context<'_>, written: &str, event: &str, count: Option<Number>) -> Result<Vec<Found>> {
    expand(context, written, TYPE_HARDWARE, HARDWARE, event, count)
}

fn expand(
    context: &Context<'_>,
    written: &str,
    kind: u32,
    rows: &[Row],
    name: &str,
    count: Option<Number>,
) -> Result<Vec<Found>> {
    let row = rows.iter().find(|r| r.0.contains(&name)).with_context(|| {
        let known = rows.iter().map(|r| r.0[0]).collect::<Vec<_>>().join(", ");
        format!("there is no event {name}; known are {known}")
    })?;
    let period = match count {
        Some(n) => context.number(n)?,
        None => 0,
    };
    let event = Event { kind, config: row.1, period: if period == 0 { row.2 } else { period }, ..Event::default() };
    Ok(vec![Found { probe: written.into(), function: written.into(), how: How::Perf(event) }])
}

/// Opens the event and attaches the program.
pub fn attach(event: &Event, pid: Option<u32>, program: BorrowedFd<'_>, cookie: u64) -> Result<Vec<OwnedFd>> {
    let mut attr = PerfAttr {
        kind: event.kind,
        config: event.config,
        sample_period: event.period,
        flags: PERF_DISABLED,
        ..PerfAttr::default()
    };
    if let Some((kind, address, length)) = event.breakpoint {
        (attr.breakpoint, attr.config1, attr.config2) = (kind, address, length);
    }
    let pid = pid.filter(|_| !event.never_pid);
    let mut open = Vec::new();
    if let Some(pid) = pid {
        // An event is about one thread; those that it starts later inherit it.
        attr.flags |= PERF_INHERIT;
        for thread in threads(pid) {
            let fd = sys::perf_event_open(attr, thread as i32, -1).with_context(|| hint(event))?;
            open.extend(sys::attach_perf(program, fd, cookie)?);
        }
        return Ok(open);
    }
    let mut cpus = sys::online_cpus();
    if event.one_cpu {
        cpus.truncate(1);
    }
    for cpu in cpus {
        let fd = sys::perf_event_open(attr, -1, cpu as i32).with_context(|| hint(event))?;
        open.extend(sys::attach_perf(program, fd, cookie)?);
    }
    Ok(open)
}

/// Threads of a process; itself where they cannot be listed.
fn threads(pid: u32) -> Vec<u32> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let ids: Vec<u32> = entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    if ids.is_empty() { vec![pid] } else { ids }
}

/// What to do when an event cannot be opened.
fn hint(event: &Event) -> &'static str {
    match event.kind {
        TYPE_HARDWARE => "the perf event cannot be opened; virtual machines often have no hardware counters",
        TYPE_BREAKPOINT => {
            "the hardware breakpoint cannot be set; there are four per CPU, and addresses must be aligned"
        }
        _ => "the perf event cannot be opened",
    }
}
