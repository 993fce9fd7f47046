//! What kernels and binaries offer to trace: `btc list` and bpftrace's `-l`.
//!
//! In: patterns, or the attach points of a script, and where to look: the
//! running system, BTF files, or the bundled reference. Out: lines as bpftrace
//! prints them, sorted within each kind of probe.
//! Not a stage: nothing that compiles a script may ask the running system, so
//! no stage imports this.

mod binary;
mod ctext;
mod kernel;
mod kinds;
mod types;

use anyhow::Result;
use btc_payload::probe::{AttachPoint, Number, PeriodUnit, Text, TextPart, UserLocation, WatchTarget};
use std::path::PathBuf;

pub use kernel::Facts;

/// Where kernels are looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// The system this runs on; the reference where it shows nothing.
    #[default]
    Running,
    /// BTF files; tracepoints are the reference's, because BTF names no formats.
    Files(Vec<PathBuf>),
    /// The bundled reference.
    Reference,
}

/// How to list.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Show parameters and definitions?
    pub verbose: bool,
    /// Process whose binaries count.
    pub pid: Option<u32>,
    /// The kernel to look at.
    pub from: From,
    /// File of functions that may be traced, in place of the kernel's.
    pub traceable: Option<PathBuf>,
    /// Where debug files of binaries are looked for, besides the usual places.
    pub debug_dirs: Vec<PathBuf>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Lines for standard output.
    pub lines: Vec<String>,
    /// What could not be looked at, for standard error; each once.
    pub notes: Vec<String>,
    /// Has a script attach points, and none of them matches anything?
    pub nothing: bool,
}

/// A probe with its parameters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// What follows the kind's name and a colon.
    text: String,
    /// One per line, shown if verbose.
    params: Vec<String>,
}

/// What is looked for within a kind of probe.
struct Query<'a> {
    /// Module, category, binary: the part before the name, if one was written.
    target: Option<&'a str>,
    /// The rest: a pattern of names.
    name: &'a str,
}

/// Lists what the patterns match; each may be a list separated by commas.
/// Without patterns, everything the kernel offers.
pub fn list(options: &Options, patterns: &[String]) -> Result<Listing> {
    let facts = Facts::new(options)?;
    let mut lines = Vec::new();
    let all = ["*".to_string()];
    let patterns = if patterns.is_empty() { &all } else { patterns };
    for pattern in patterns.iter().flat_map(|p| p.split(',')) {
        let pattern = pattern.split_whitespace().collect::<Vec<_>>().join(" ");
        match types::tag_of(&pattern) {
            Some((tag, name)) => lines.extend(types::list(&facts, tag, name)),
            None => list_probes(&facts, &pattern, &mut lines)?,
        }
    }
    Ok(Listing { lines, notes: facts.notes(), nothing: false })
}

/// Lists what attach points of a script match; `parameters` are `$1`, `$2`, ...
pub fn list_script(options: &Options, points: &[AttachPoint], parameters: &[String]) -> Result<Listing> {
    let facts = Facts::new(options)?;
    let mut lines = Vec::new();
    let mut missing = Vec::new();
    for point in points {
        let Some((kind, rest)) = written(point, parameters) else { continue };
        let before = lines.len();
        match kinds::find(kind) {
            // Nothing to look up: an address, or a kind without a list.
            None => lines.push(format!("{kind}:{rest}")),
            Some(_) if is_place(point) => lines.push(format!("{kind}:{rest}")),
            Some(kind) => print(&facts, kind, &rest, &mut lines)?,
        }
        if lines.len() == before {
            missing.push(format!("no matches for {kind}:{rest}"));
        }
    }
    let nothing = lines.is_empty() && !missing.is_empty();
    Ok(Listing { lines, notes: facts.notes().into_iter().chain(missing).collect(), nothing })
}

/// `KIND:REST`, `*:REST`, or a pattern of names of any kind.
fn list_probes(facts: &Facts, pattern: &str, lines: &mut Vec<String>) -> Result<()> {
    let (kind, rest) = pattern.split_once(':').unwrap_or(("*", pattern));
    let rest = if rest.is_empty() { "*" } else { rest };
    if !btc_payload::probe::is_pattern(kind) {
        let Some(kind) = kinds::find(kind) else { return Ok(()) };
        return print(facts, kind, rest, lines);
    }
    // Binaries are searched only when it is known which.
    let target = rest.split(':').next().unwrap_or("");
    let binaries = facts.pid.is_some() || (target.contains('/') && std::path::Path::new(target).exists());
    for kind in kinds::matching(kind, binaries) {
        print(facts, kind, rest, lines)?;
    }
    Ok(())
}

fn print(facts: &Facts, kind: &kinds::Kind, rest: &str, lines: &mut Vec<String>) -> Result<()> {
    let mut entries = (kind.search)(facts, &kind.query(rest))?;
    entries.sort();
    entries.dedup();
    for entry in entries {
        lines.push(format!("{}:{}", kind.name, entry.text));
        if facts.verbose {
            lines.extend(entry.params.iter().map(|p| format!("    {p}")));
        }
    }
    Ok(())
}

/// Does it name a place inside a function, which no list has?
fn is_place(point: &AttachPoint) -> bool {
    match point {
        AttachPoint::Kprobe { offset, .. } => *offset != 0,
        AttachPoint::KprobeAddress { .. } => true,
        AttachPoint::Uprobe { at: UserLocation::Symbol { offset, .. }, .. } => *offset != 0,
        AttachPoint::Uprobe { .. } => true,
        _ => false,
    }
}

/// Kind and pattern of an attach point; none for what always exists.
fn written(point: &AttachPoint, parameters: &[String]) -> Option<(&'static str, String)> {
    let text = |t: &Text| {
        let value = |n: u32| parameters.get(n.checked_sub(1)? as usize).cloned();
        t.resolve(value).unwrap_or_else(|n| format!("${n}"))
    };
    let within = |owner: &Option<Text>, name: &Text| match owner {
        Some(owner) => format!("{}:{}", text(owner), text(name)),
        None => text(name),
    };
    let plus = |offset: u64| if offset == 0 { String::new() } else { format!("+{offset}") };
    Some(match point {
        AttachPoint::Begin | AttachPoint::End => return None,
        AttachPoint::SelfSignal { signal } => ("self", format!("signal:{signal}")),
        AttachPoint::Test { name } => ("test", name.clone()),
        AttachPoint::Bench { name } => ("bench", name.clone()),
        AttachPoint::Interval(period) => ("interval", unit(period.unit).into()),
        AttachPoint::Profile(period) => ("profile", unit(period.unit).into()),
        AttachPoint::Software { event, .. } => ("software", event.clone()),
        AttachPoint::Hardware { event, .. } => ("hardware", event.clone()),
        AttachPoint::Tracepoint { category, event } => ("tracepoint", format!("{}:{}", text(category), text(event))),
        AttachPoint::RawTracepoint { module, event } => ("rawtracepoint", within(module, event)),
        AttachPoint::Kprobe { ret, module, function, offset } => {
            (if *ret { "kretprobe" } else { "kprobe" }, within(module, function) + &plus(*offset))
        }
        AttachPoint::KprobeAddress { address } => ("kprobe", format!("{address:#x}")),
        AttachPoint::Fentry { ret, module, function } => {
            (if *ret { "fexit" } else { "fentry" }, within(module, function))
        }
        AttachPoint::Uprobe { ret, path, at } => {
            let place = match at {
                UserLocation::Symbol { name, offset, demangled } => {
                    format!("{}{}{}", if *demangled { "cpp:" } else { "" }, text(name), plus(*offset))
                }
                UserLocation::Address(address) => format!("{address:#x}"),
                UserLocation::Line { file, line, .. } => format!("{file}:{line}"),
            };
            (if *ret { "uretprobe" } else { "uprobe" }, format!("{}:{place}", text(path)))
        }
        AttachPoint::Usdt { path, provider, name } => ("usdt", format!("{}:{}", text(path), within(provider, name))),
        AttachPoint::Watchpoint { at, asynchronous, mode, length } => {
            let at = match at {
                WatchTarget::Address(Number::Literal(address)) => format!("{address:#x}"),
                WatchTarget::Address(Number::Parameter(n)) => text(&Text(vec![TextPart::Parameter(*n)])),
                WatchTarget::Argument { function, arg } => format!("{function}+arg{arg}"),
            };
            (if *asynchronous { "asyncwatchpoint" } else { "watchpoint" }, format!("{at}:{length}:{mode}"))
        }
        AttachPoint::Iter { kind, .. } => ("iter", kind.clone()),
    })
}

fn unit(unit: PeriodUnit) -> &'static str {
    match unit {
        PeriodUnit::Hertz => "hz",
        PeriodUnit::Seconds => "s",
        PeriodUnit::Milliseconds => "ms",
        PeriodUnit::Microseconds => "us",
        // bpftrace lists a duration without a unit of its own as microseconds.
        PeriodUnit::Nanoseconds => "us",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(patterns: &[&str], verbose: bool) -> Vec<String> {
        let options = Options { verbose, from: From::Reference, ..Options::default() };
        let patterns: Vec<String> = patterns.iter().map(|p| p.to_string()).collect();
        list(&options, &patterns).unwrap().lines
    }

    #[test]
    fn kinds_have_short_names_and_lists() {
        assert_eq!(
            reference(&["t:syscalls:sys_enter_getppid,t:syscalls:sys_enter_getpid"], false),
            ["tracepoint:syscalls:sys_enter_getppid", "tracepoint:syscalls:sys_enter_getpid"]
        );
        assert_eq!(reference(&["i:*"], false), ["interval:hz:", "interval:ms:", "interval:s:", "interval:us:"]);
        assert_eq!(reference(&["s:c*"], false).len(), 5);
        assert_eq!(reference(&["software:page-faults:100"], false), ["software:page-faults:"]);
        assert!(reference(&["tracepoint:no_such_group:*", "nokind:x"], false).is_empty());
    }

    #[test]
    fn a_bare_pattern_searches_every_kind() {
        let lines = reference(&["*sched_process_exec*"], false);
        assert!(lines.contains(&"tracepoint:sched:sched_process_exec".to_string()), "{lines:?}");
        assert!(lines.contains(&"rawtracepoint:vmlinux:sched_process_exec".to_string()), "{lines:?}");
        let everything = reference(&[], false);
        for probe in ["hardware:cpu-cycles:", "iter:task", "kprobe:vfs_read", "software:cpu:"] {
            assert!(everything.iter().any(|l| l == probe), "{probe}");
        }
    }

    #[test]
    fn parameters_follow_if_verbose() {
        assert_eq!(
            reference(&["tracepoint:syscalls:sys_enter_openat"], true)[..4],
            [
                "tracepoint:syscalls:sys_enter_openat",
                "    int __syscall_nr",
                "    int dfd",
                "    const char * filename"
            ]
        );
        assert_eq!(
            reference(&["fexit:vmlinux:do_nanosleep", "kprobe:do_nanosleep", "kretprobe:do_nanosleep"], true),
            [
                "fexit:vmlinux:do_nanosleep",
                "    struct hrtimer_sleeper * t",
                "    enum hrtimer_mode mode",
                "    int retval",
                "kprobe:do_nanosleep",
                "    struct hrtimer_sleeper * arg0",
                "    enum hrtimer_mode arg1",
                "kretprobe:do_nanosleep",
                "    int retval",
            ]
        );
        let nothing = reference(&["fexit:vmlinux:fput", "kretprobe:fput"], true);
        assert_eq!(nothing, ["fexit:vmlinux:fput", "    struct file * file", "kretprobe:fput", "    void"]);
        assert_eq!(reference(&["it:task"], true), ["iter:task", "    struct task_struct * task"]);
        let switch = reference(&["rawtracepoint:sched_switch"], true);
        assert_eq!(switch[1..3], ["    bool preempt", "    struct task_struct * prev"]);
    }

    fn watchpoint(at: WatchTarget) -> AttachPoint {
        AttachPoint::Watchpoint { at, length: 4, mode: "w".into(), asynchronous: false }
    }

    #[test]
    fn attach_points_of_a_script_are_expanded() {
        let options = Options { from: From::Reference, ..Options::default() };
        let points = [
            AttachPoint::Begin,
            AttachPoint::Tracepoint { category: Text::literal("sched"), event: Text::literal("sched_process_e*") },
            AttachPoint::Software { event: "page-faults".into(), count: None },
            AttachPoint::KprobeAddress { address: 0x10 },
            watchpoint(WatchTarget::Address(Number::Parameter(1))),
            watchpoint(WatchTarget::Argument { function: "f".into(), arg: 2 }),
        ];
        let lines = list_script(&options, &points, &["0x20".into()]).unwrap().lines;
        let (first, last) = lines.split_at(lines.len() - 3);
        assert_eq!(last, ["kprobe:0x10", "watchpoint:0x20:4:w", "watchpoint:f+arg2:4:w"]);
        assert!(first.contains(&"tracepoint:sched:sched_process_exit".to_string()), "{first:?}");
        assert!(first.contains(&"software:page-faults:".to_string()), "{first:?}");
    }
}
