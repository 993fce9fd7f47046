//! Attach points: one table row per probe kind.
//!
//! In: an attach point split at its colons. Out: the payload's attach point and
//! the kind of BPF program, or a diagnostic that shows the form the kind wants.
//! Patterns and parameters stay unresolved: the target decides.

use crate::diagnostic::Diagnostic;
use crate::hir::tree::ProgramKind;
use crate::syntax::ast;
use btc_payload::probe::{AttachPoint, Number, Period, PeriodUnit, Text, TextPart, UserLocation, WatchTarget};

/// A probe kind.
pub struct Provider {
    /// Name in today's language.
    pub name: &'static str,
    /// Short and old names.
    pub aliases: &'static [&'static str],
    /// Forms to show when an attach point does not fit.
    pub usage: &'static str,
    /// Program it becomes.
    pub kind: ProgramKind,
    parse: fn(&Parts) -> Result<AttachPoint, String>,
}

/// All probe kinds.
pub static PROVIDERS: &[Provider] = &[
    Provider { name: "begin", aliases: &[], usage: "begin", kind: ProgramKind::RawTracepointRun, parse: begin },
    Provider { name: "end", aliases: &[], usage: "end", kind: ProgramKind::RawTracepointRun, parse: end },
    Provider {
        name: "self",
        aliases: &[],
        usage: "self:signal:SIGUSR1",
        kind: ProgramKind::RawTracepointRun,
        parse: self_signal,
    },
    Provider { name: "test", aliases: &[], usage: "test:name", kind: ProgramKind::RawTracepointRun, parse: test },
    Provider { name: "bench", aliases: &[], usage: "bench:name", kind: ProgramKind::RawTracepointRun, parse: bench },
    Provider {
        name: "interval",
        aliases: &["i"],
        usage: "interval:100ms, interval:s:1 (units s, ms, us, hz)",
        kind: ProgramKind::PerfEvent,
        parse: |p| period(p).map(AttachPoint::Interval),
    },
    Provider {
        name: "profile",
        aliases: &["p"],
        usage: "profile:hz:99, profile:10ms (units s, ms, us, hz)",
        kind: ProgramKind::PerfEvent,
        parse: |p| period(p).map(AttachPoint::Profile),
    },
    Provider {
        name: "software",
        aliases: &["s"],
        usage: "software:event:count, such as software:page-faults:100",
        kind: ProgramKind::PerfEvent,
        parse: software,
    },
    Provider {
        name: "hardware",
        aliases: &["h"],
        usage: "hardware:event:count, such as hardware:cache-misses:1000000",
        kind: ProgramKind::PerfEvent,
        parse: hardware,
    },
    Provider {
        name: "tracepoint",
        aliases: &["t"],
        usage: "tracepoint:category:event",
        kind: ProgramKind::Tracepoint,
        parse: tracepoint,
    },
    Provider {
        name: "rawtracepoint",
        aliases: &["rt"],
        usage: "rawtracepoint:event or rawtracepoint:module:event",
        kind: ProgramKind::RawTracepoint,
        parse: raw_tracepoint,
    },
    Provider {
        name: "kprobe",
        aliases: &["k"],
        usage: "kprobe:function, kprobe:function+offset, kprobe:module:function",
        kind: ProgramKind::Kprobe,
        parse: |p| kprobe(p, false),
    },
    Provider {
        name: "kretprobe",
        aliases: &["kr"],
        usage: "kretprobe:function or kretprobe:module:function",
        kind: ProgramKind::Kretprobe,
        parse: |p| kprobe(p, true),
    },
    Provider {
        name: "fentry",
        aliases: &["f", "kfunc"],
        usage: "fentry:function, fentry:module:function, fentry:bpf:program or fentry:bpf:id:program",
        kind: ProgramKind::Fentry,
        parse: |p| fentry(p, false),
    },
    Provider {
        name: "fexit",
        aliases: &["fr", "kretfunc"],
        usage: "fexit:function or fexit:module:function",
        kind: ProgramKind::Fexit,
        parse: |p| fentry(p, true),
    },
    Provider {
        name: "uprobe",
        aliases: &["u"],
        usage: "uprobe:binary:function, uprobe:binary:function+offset, uprobe:binary:address, uprobe:binary:cpp:function, uprobe:binary@file.c:line",
        kind: ProgramKind::Uprobe,
        parse: |p| uprobe(p, false),
    },
    Provider {
        name: "uretprobe",
        aliases: &["ur"],
        usage: "uretprobe:binary:function",
        kind: ProgramKind::Uretprobe,
        parse: |p| uprobe(p, true),
    },
    Provider {
        name: "usdt",
        aliases: &["U"],
        usage: "usdt:binary:provider:name or usdt:binary:name",
        kind: ProgramKind::Uprobe,
        parse: usdt,
    },
    Provider {
        name: "watchpoint",
        aliases: &["w"],
        usage: "watchpoint:address:length:mode or watchpoint:function+argN:length:mode (mode w, rw or x)",
        kind: ProgramKind::PerfEvent,
        parse: |p| watchpoint(p, false),
    },
    Provider {
        name: "asyncwatchpoint",
        aliases: &["aw"],
        usage: "asyncwatchpoint:address:length:mode",
        kind: ProgramKind::PerfEvent,
        parse: |p| watchpoint(p, true),
    },
    Provider {
        name: "iter",
        aliases: &["it"],
        usage: "iter:task, iter:task_file, iter:task:pin",
        kind: ProgramKind::Iter,
        parse: iter,
    },
];

/// The probe kind of a name, whatever its case; short names are case-sensitive
/// where case tells them apart (`u`, `U`).
pub fn provider(name: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|p| p.aliases.contains(&name)).or_else(|| {
        PROVIDERS.iter().find(|p| {
            p.name.eq_ignore_ascii_case(name) || p.aliases.iter().any(|a| a.len() > 2 && a.eq_ignore_ascii_case(name))
        })
    })
}

/// An attach point whose kind is a parameter, with the values of its parameters: what
/// a probe is must be known to compile it. `None` where there is nothing to fill in.
pub fn fill_kind(point: &ast::AttachPoint, values: &[String]) -> Option<ast::AttachPoint> {
    let is_parameter = |p: &ast::AttachPiece| matches!(p, ast::AttachPiece::Parameter(_));
    if !point.parts.first()?.pieces.iter().any(is_parameter) {
        return None;
    }
    let mut text = String::new();
    for (i, part) in point.parts.iter().enumerate() {
        text.push_str(if i > 0 { ":" } else { "" });
        for piece in &part.pieces {
            match piece {
                ast::AttachPiece::Text(t) => text.push_str(t),
                ast::AttachPiece::Parameter(n) => text.push_str(values.get((*n as usize).checked_sub(1)?)?),
            }
        }
    }
    let part = |t: &str| ast::AttachPart {
        pieces: vec![ast::AttachPiece::Text(t.to_string())],
        quoted: false,
        span: point.span,
    };
    let parts = text.split(':').map(part).collect();
    Some(ast::AttachPoint { label: point.label.clone(), parts, text, span: point.span })
}

/// Kinds that a pattern can stand for where the part behind it is a path, and where it
/// is not.
const USER_KINDS: &[&str] = &["uprobe", "usdt"];
const KERNEL_KINDS: &[&str] = &["kprobe", "tracepoint", "software", "hardware", "fentry", "iter", "rawtracepoint"];

/// The attach points that one whose kind is a pattern, such as `t*:sched:sched_switch`,
/// stands for: one of each kind in whose form it fits. Empty where the kind is no
/// pattern, or no kind fits.
pub fn expand_kind(point: &ast::AttachPoint) -> Vec<ast::AttachPoint> {
    let Some((pattern, rest)) = point.text.split_once(':') else { return Vec::new() };
    let pattern = pattern.trim();
    if !btc_payload::probe::is_pattern(pattern) {
        return Vec::new();
    }
    let is_path =
        |p: &ast::AttachPart| p.pieces.iter().any(|p| matches!(p, ast::AttachPiece::Text(t) if t.contains('/')));
    let kinds = if point.parts.get(1).is_some_and(is_path) { USER_KINDS } else { KERNEL_KINDS };
    let of_kind = |kind: &&str| {
        let mut parts = point.parts.clone();
        parts.first_mut()?.pieces = vec![ast::AttachPiece::Text(kind.to_string())];
        let one = ast::AttachPoint { parts, text: format!("{kind}:{rest}"), ..point.clone() };
        // With two parts both kinds for users' programs fit: it is a function then.
        let fits = parse(&one).is_ok() && (*kind != "usdt" || one.parts.len() > 3);
        fits.then_some(one)
    };
    let matching = kinds.iter().filter(|k| btc_payload::probe::pattern_matches(pattern, k));
    let mut out: Vec<_> = matching.filter_map(of_kind).collect();
    // An iterator stands alone.
    if out.len() > 1 {
        out.retain(|p| !p.text.starts_with("iter:"));
    }
    out
}

/// Checks an attach point; the kind and where it attaches.
pub fn parse(point: &ast::AttachPoint) -> Result<(&'static Provider, AttachPoint), Diagnostic> {
    let name = point.parts.first().map(text_of).unwrap_or_default();
    let written = name.as_literal().unwrap_or("").trim().to_string();
    let Some(provider) = provider(&written) else {
        let names = PROVIDERS.iter().flat_map(|p| std::iter::once(&p.name).chain(p.aliases)).copied();
        let mut d =
            Diagnostic::error("E0301", format!("unknown probe kind `{written}`")).at(point.span, "not a kind of probe");
        if let Some(close) = crate::ctypes::nearest(&written, names.filter(|n| n.len() > 2)) {
            d = d.help(format!("did you mean `{close}`?"));
        }
        let known: Vec<_> = PROVIDERS.iter().map(|p| p.name).collect();
        return Err(d.help(format!("kinds of probes: {}", known.join(", "))));
    };
    let parts = Parts { parts: point.parts[1..].to_vec() };
    match (provider.parse)(&parts) {
        Ok(attach) => Ok((provider, attach)),
        Err(why) => Err(Diagnostic::error("E0302", format!("invalid attach point: {why}"))
            .at(point.span, "")
            .help(format!("expected: {}", provider.usage))),
    }
}

/// An attach point as `probe` shows it: under its full name, timers without a
/// unit of their own in microseconds.
pub fn shown(provider: &Provider, point: &ast::AttachPoint, attach: &AttachPoint) -> String {
    let timer = match attach {
        AttachPoint::Interval(p) | AttachPoint::Profile(p) if point.parts.len() == 2 => Some(p),
        _ => None,
    };
    if let Some(Period { unit, count: Number::Literal(n) }) = timer {
        let microseconds = match unit {
            PeriodUnit::Hertz => return format!("{}:hz:{n}", provider.name),
            PeriodUnit::Seconds => n.saturating_mul(1_000_000),
            PeriodUnit::Milliseconds => n.saturating_mul(1000),
            PeriodUnit::Microseconds => *n,
            PeriodUnit::Nanoseconds => n / 1000,
        };
        return format!("{}:us:{microseconds}", provider.name);
    }
    let count = match attach {
        AttachPoint::Interval(Period { count: Number::Literal(n), .. })
        | AttachPoint::Profile(Period { count: Number::Literal(n), .. })
        | AttachPoint::Software { count: Some(Number::Literal(n)), .. }
        | AttachPoint::Hardware { count: Some(Number::Literal(n)), .. } => Some(n),
        _ => None,
    };
    match (point.text.split_once(':'), count) {
        // A count may be written as 1e6.
        (Some((_, rest)), Some(n)) => {
            format!("{}:{}:{n}", provider.name, rest.rsplit_once(':').map_or(rest, |(event, _)| event))
        }
        (Some((_, rest)), None) => format!("{}:{rest}", provider.name),
        // BEGIN and END as they are written.
        (None, _) => point.text.clone(),
    }
}

/// Software events with the other names they have.
pub const SOFTWARE: &[(&str, &[&str])] = &[
    ("alignment-faults", &[]),
    ("bpf-output", &[]),
    ("context-switches", &["cs"]),
    ("cpu-clock", &["cpu"]),
    ("cpu-migrations", &[]),
    ("dummy", &[]),
    ("emulation-faults", &[]),
    ("major-faults", &[]),
    ("minor-faults", &[]),
    ("page-faults", &["faults"]),
    ("task-clock", &[]),
];

/// Shortest period of a timer, in nanoseconds.
const SHORTEST_PERIOD: u64 = 1000;

/// Hardware events with the other names they have.
pub const HARDWARE: &[(&str, &[&str])] = &[
    ("backend-stalls", &[]),
    ("branch-instructions", &["branches"]),
    ("branch-misses", &[]),
    ("bus-cycles", &[]),
    ("cache-misses", &[]),
    ("cache-references", &[]),
    ("cpu-cycles", &["cycles"]),
    ("frontend-stalls", &[]),
    ("instructions", &[]),
    ("ref-cycles", &[]),
];

/// The parts behind the provider.
struct Parts {
    parts: Vec<ast::AttachPart>,
}

impl Parts {
    fn len(&self) -> usize {
        self.parts.len()
    }

    fn text(&self, i: usize) -> Result<Text, String> {
        let text = self.parts.get(i).map(text_of).unwrap_or_default();
        if text.0.is_empty() {
            return Err("a part is missing".into());
        }
        Ok(text)
    }

    fn literal(&self, i: usize) -> Result<String, String> {
        let text = self.text(i)?;
        text.as_literal().map(str::to_string).ok_or_else(|| "a parameter cannot stand here".into())
    }

    fn number(&self, i: usize) -> Result<Number, String> {
        match self.text(i)?.0.as_slice() {
            [TextPart::Parameter(n)] => Ok(Number::Parameter(*n)),
            [TextPart::Literal(s)] => integer(s).map(Number::Literal).ok_or_else(|| format!("`{s}` is not a number")),
            _ => Err("a number is expected".into()),
        }
    }

    fn count(&self, allowed: std::ops::RangeInclusive<usize>) -> Result<(), String> {
        // A trailing colon, as in `software:faults:`, is an empty part.
        if allowed.contains(&self.len()) {
            return Ok(());
        }
        Err(if self.len() < *allowed.start() { "a part is missing".into() } else { "it has too many parts".into() })
    }
}

/// A part's text; blanks around it do not count unless it was quoted.
fn text_of(part: &ast::AttachPart) -> Text {
    let mut out: Vec<TextPart> = Vec::new();
    for piece in &part.pieces {
        match piece {
            ast::AttachPiece::Text(t) => {
                let t = if part.quoted { t.as_str() } else { t.trim() };
                match out.last_mut() {
                    Some(TextPart::Literal(last)) => last.push_str(t),
                    _ if t.is_empty() => {}
                    _ => out.push(TextPart::Literal(t.to_string())),
                }
            }
            ast::AttachPiece::Parameter(n) => out.push(TextPart::Parameter(*n)),
        }
    }
    Text(out)
}

/// Decimal, octal or hexadecimal, with `_`.
fn integer(s: &str) -> Option<u64> {
    let s = s.replace('_', "");
    if let Some(hex) = s.strip_prefix("0x").or_else(|| s.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).ok();
    }
    if s.len() > 1 && s.starts_with('0') {
        return u64::from_str_radix(&s[1..], 8).ok();
    }
    if let Some((m, e)) = s.split_once('e') {
        return m.parse::<u64>().ok()?.checked_mul(10u64.checked_pow(e.parse().ok()?)?);
    }
    s.parse().ok()
}

fn begin(p: &Parts) -> Result<AttachPoint, String> {
    p.count(0..=0)?;
    Ok(AttachPoint::Begin)
}

fn end(p: &Parts) -> Result<AttachPoint, String> {
    p.count(0..=0)?;
    Ok(AttachPoint::End)
}

fn self_signal(p: &Parts) -> Result<AttachPoint, String> {
    p.count(2..=2)?;
    if p.literal(0)? != "signal" {
        return Err("only `self:signal:NAME` exists".into());
    }
    let signal = p.literal(1)?;
    // Those that end or stop the tracer cannot be given to a script.
    if !matches!(signal.as_str(), "SIGUSR1" | "SIGUSR2" | "SIGHUP" | "SIGWINCH") {
        return Err(format!("signal `{signal}` cannot be handled; SIGUSR1, SIGUSR2, SIGHUP and SIGWINCH can"));
    }
    Ok(AttachPoint::SelfSignal { signal })
}

fn test(p: &Parts) -> Result<AttachPoint, String> {
    p.count(1..=1)?;
    Ok(AttachPoint::Test { name: p.literal(0)? })
}

fn bench(p: &Parts) -> Result<AttachPoint, String> {
    p.count(1..=1)?;
    Ok(AttachPoint::Bench { name: p.literal(0)? })
}

fn period(p: &Parts) -> Result<Period, String> {
    p.count(1..=2)?;
    if p.len() == 2 {
        let unit = match p.literal(0)?.as_str() {
            "hz" => PeriodUnit::Hertz,
            "s" => PeriodUnit::Seconds,
            "ms" => PeriodUnit::Milliseconds,
            "us" => PeriodUnit::Microseconds,
            "ns" => PeriodUnit::Nanoseconds,
            other => return Err(format!("unknown unit `{other}`")),
        };
        return positive(Period { unit, count: p.number(1)? });
    }
    if let Ok(count) = p.number(0) {
        return positive(Period { unit: PeriodUnit::Nanoseconds, count });
    }
    let text = p.literal(0)?;
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let count = integer(number).ok_or_else(|| format!("`{text}` is not a duration"))?;
    let (unit, factor) = match suffix {
        "ns" => (PeriodUnit::Nanoseconds, 1),
        "us" => (PeriodUnit::Microseconds, 1),
        "ms" => (PeriodUnit::Milliseconds, 1),
        "s" => (PeriodUnit::Seconds, 1),
        "m" => (PeriodUnit::Seconds, 60),
        "h" => (PeriodUnit::Seconds, 3600),
        "d" => (PeriodUnit::Seconds, 86_400),
        "hz" => (PeriodUnit::Hertz, 1),
        _ => return Err(format!("`{text}` is not a duration")),
    };
    positive(Period { unit, count: Number::Literal(count.saturating_mul(factor)) })
}

fn positive(p: Period) -> Result<Period, String> {
    match p.count {
        Number::Literal(0) => Err("the period must be at least 1".into()),
        // Shorter ones would leave the processor no time for anything else.
        Number::Literal(n) if p.unit == PeriodUnit::Nanoseconds && n < SHORTEST_PERIOD => {
            Err(format!("the period must be at least {SHORTEST_PERIOD} ns, not {n}"))
        }
        _ => Ok(p),
    }
}

/// Canonical name and optional count of a perf event.
fn perf_event(p: &Parts, table: &[(&str, &[&str])]) -> Result<(String, Option<Number>), String> {
    p.count(1..=2)?;
    let written = p.literal(0)?;
    let Some((name, _)) = table.iter().find(|(n, aliases)| *n == written || aliases.contains(&written.as_str())) else {
        let names: Vec<_> = table.iter().map(|(n, _)| *n).collect();
        return Err(format!("unknown event `{written}`; known are {}", names.join(", ")));
    };
    let count = match p.parts.get(1) {
        Some(part) if !text_of(part).0.is_empty() => Some(p.number(1)?),
        _ => None,
    };
    if count == Some(Number::Literal(0)) {
        return Err("the count must be at least 1".into());
    }
    Ok((name.to_string(), count))
}

fn software(p: &Parts) -> Result<AttachPoint, String> {
    let (event, count) = perf_event(p, SOFTWARE)?;
    Ok(AttachPoint::Software { event, count })
}

fn hardware(p: &Parts) -> Result<AttachPoint, String> {
    let (event, count) = perf_event(p, HARDWARE)?;
    Ok(AttachPoint::Hardware { event, count })
}

fn tracepoint(p: &Parts) -> Result<AttachPoint, String> {
    // A single pattern is one of events.
    if p.len() == 1 && p.text(0)?.has_wildcard() {
        return Ok(AttachPoint::Tracepoint { category: Text::literal("*"), event: p.text(0)? });
    }
    p.count(2..=2)?;
    Ok(AttachPoint::Tracepoint { category: p.text(0)?, event: p.text(1)? })
}

fn raw_tracepoint(p: &Parts) -> Result<AttachPoint, String> {
    p.count(1..=2)?;
    let (module, event) = module_and_name(p)?;
    Ok(AttachPoint::RawTracepoint { module, event })
}

/// `name` or `module:name`.
fn module_and_name(p: &Parts) -> Result<(Option<Text>, Text), String> {
    Ok(if p.len() == 2 { (Some(p.text(0)?), p.text(1)?) } else { (None, p.text(0)?) })
}

/// Splits `name+offset`; the offset must be a literal number.
fn split_offset(text: Text) -> Result<(Text, u64), String> {
    let Some(TextPart::Literal(last)) = text.0.last() else { return Ok((text, 0)) };
    let Some((name, offset)) = last.rsplit_once('+') else { return Ok((text, 0)) };
    let value = integer(offset.trim()).ok_or_else(|| format!("`{offset}` is not an offset"))?;
    let mut parts = text.0[..text.0.len() - 1].to_vec();
    if !name.trim_end().is_empty() {
        parts.push(TextPart::Literal(name.trim_end().to_string()));
    }
    if parts.is_empty() {
        return Err("a function is missing before the offset".into());
    }
    Ok((Text(parts), value))
}

fn kprobe(p: &Parts, ret: bool) -> Result<AttachPoint, String> {
    p.count(1..=2)?;
    if p.len() == 1
        && let Some(address) = p.text(0)?.as_literal().and_then(integer)
    {
        return if ret {
            Err("a return probe needs a function, not an address".into())
        } else {
            Ok(AttachPoint::KprobeAddress { address })
        };
    }
    let (module, name) = module_and_name(p)?;
    let (function, offset) = split_offset(name)?;
    if ret && offset != 0 {
        return Err("a return probe takes no offset".into());
    }
    if offset != 0 && function.has_wildcard() {
        return Err("an offset and a wildcard exclude each other".into());
    }
    Ok(AttachPoint::Kprobe { ret, module, function, offset })
}

fn fentry(p: &Parts, ret: bool) -> Result<AttachPoint, String> {
    p.count(1..=3)?;
    if p.len() == 3 {
        // One BPF program of several with this name.
        let id = p.literal(1)?;
        if p.literal(0)? != "bpf" || integer(&id).is_none() {
            return Err("three parts mean a BPF program: its id and its name".into());
        }
        return Ok(AttachPoint::Fentry { ret, module: Some(Text::literal(format!("bpf:{id}"))), function: p.text(2)? });
    }
    let (module, function) = module_and_name(p)?;
    Ok(AttachPoint::Fentry { ret, module, function })
}

fn uprobe(p: &Parts, ret: bool) -> Result<AttachPoint, String> {
    p.count(2..=3)?;
    let mut path = p.text(0)?;
    let last = p.text(p.len() - 1)?;
    if let [TextPart::Literal(s)] = path.0.as_slice()
        && let Some((binary, file)) = s.rsplit_once('@')
        && let Some(line) = last.as_literal().and_then(|l| l.parse().ok())
    {
        return source_line(ret, Text::literal(binary), file.to_string(), line);
    }
    if p.len() == 3
        && p.literal(1)?.contains('.')
        && let Some(line) = last.as_literal().and_then(|l| l.parse().ok())
    {
        return source_line(ret, path, p.literal(1)?, line);
    }
    let demangled = p.len() == 3;
    if demangled && p.literal(1)? != "cpp" {
        return Err(format!("unknown language `{}`; `cpp` is known", p.literal(1)?));
    }
    if !demangled && let Some(address) = last.as_literal().and_then(integer) {
        if path.has_wildcard() {
            return Err("an address and a wildcard exclude each other".into());
        }
        return Ok(AttachPoint::Uprobe { ret, path, at: UserLocation::Address(address) });
    }
    let (name, offset) = split_offset(last)?;
    if ret && offset != 0 {
        return Err("a return probe takes no offset".into());
    }
    path.0.retain(|part| !matches!(part, TextPart::Literal(s) if s.is_empty()));
    Ok(AttachPoint::Uprobe { ret, path, at: UserLocation::Symbol { name, offset, demangled } })
}

/// A place in a source file; its addresses are looked up later.
fn source_line(ret: bool, path: Text, file: String, line: u32) -> Result<AttachPoint, String> {
    if ret {
        return Err("a return probe needs a function, not a source line".into());
    }
    Ok(AttachPoint::Uprobe { ret, path, at: UserLocation::Line { file, line, places: Vec::new() } })
}

fn usdt(p: &Parts) -> Result<AttachPoint, String> {
    p.count(2..=3)?;
    // Without a path all binaries of the process are meant, without a provider every one.
    let path = p.text(0).unwrap_or_else(|_| Text::literal("*"));
    let provider = if p.len() == 3 { p.text(1).ok() } else { None };
    Ok(AttachPoint::Usdt { path, provider, name: p.text(p.len() - 1)? })
}

/// What the debug registers of x86 can watch for (Intel's manual, "Debug Registers"):
/// there is none for reads alone.
const WATCH_MODES: &[&str] = &["w", "rw", "wr", "x"];

fn watchpoint(p: &Parts, asynchronous: bool) -> Result<AttachPoint, String> {
    p.count(3..=3)?;
    let at = match p.number(0) {
        Ok(n) => WatchTarget::Address(n),
        Err(_) => {
            let text = p.literal(0)?;
            let (function, arg) = text
                .split_once("+arg")
                .and_then(|(f, n)| Some((f.to_string(), n.parse().ok()?)))
                .ok_or_else(|| format!("`{text}` is neither an address nor `function+argN`"))?;
            WatchTarget::Argument { function, arg }
        }
    };
    let length = match p.number(1)? {
        Number::Literal(n @ (1 | 2 | 4 | 8)) => n as u32,
        _ => return Err("the length must be 1, 2, 4 or 8 bytes".into()),
    };
    if at == WatchTarget::Address(Number::Literal(0)) {
        return Err("nothing can be watched at address 0".into());
    }
    let mode = p.literal(2)?;
    if !WATCH_MODES.contains(&mode.as_str()) {
        return Err(format!("unknown mode `{mode}`: w, rw or x is expected"));
    }
    Ok(AttachPoint::Watchpoint { at, length, mode, asynchronous })
}

fn iter(p: &Parts) -> Result<AttachPoint, String> {
    p.count(1..=2)?;
    let pin = if p.len() == 2 { Some(p.text(1)?) } else { None };
    if p.text(0)?.has_wildcard() || pin.as_ref().is_some_and(Text::has_wildcard) {
        return Err("an iterator takes no patterns".into());
    }
    Ok(AttachPoint::Iter { kind: p.literal(0)?, pin })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Span;

    fn point(text: &str) -> Result<AttachPoint, Diagnostic> {
        let parts = text
            .split(':')
            .map(|t| ast::AttachPart {
                pieces: vec![ast::AttachPiece::Text(t.to_string())],
                quoted: false,
                span: Span::default(),
            })
            .collect();
        parse(&ast::AttachPoint { label: None, parts, text: text.into(), span: Span::default() }).map(|(_, a)| a)
    }

    #[test]
    fn names_and_aliases() {
        assert_eq!(point("BEGIN").unwrap(), AttachPoint::Begin);
        assert!(matches!(point("u:/bin/sh:main").unwrap(), AttachPoint::Uprobe { ret: false, .. }));
        assert!(matches!(point("U:/bin/sh:x").unwrap(), AttachPoint::Usdt { .. }));
        assert!(matches!(point("kretfunc:vfs_read").unwrap(), AttachPoint::Fentry { ret: true, .. }));
        assert!(matches!(point("usdt:/bin/x::y").unwrap(), AttachPoint::Usdt { provider: None, .. }));
        let AttachPoint::Usdt { path, .. } = point("usdt::x:y").unwrap() else { panic!() };
        assert_eq!(path.as_literal(), Some("*"));
        assert!(point("usdt:/bin/x:y:").is_err());
        assert!(point("kprob:x").unwrap_err().help[0].contains("kprobe"));
    }

    #[test]
    fn kinds_can_be_parameters() {
        let part = |piece| ast::AttachPart { pieces: vec![piece], quoted: false, span: Span::default() };
        let point = |first| ast::AttachPoint {
            label: None,
            parts: vec![part(first), part(ast::AttachPiece::Text("s".into())), part(ast::AttachPiece::Parameter(2))],
            text: String::new(),
            span: Span::default(),
        };
        let values = ["i".to_string(), "5".into()];
        let filled = fill_kind(&point(ast::AttachPiece::Parameter(1)), &values).unwrap();
        assert_eq!((filled.text.as_str(), filled.parts.len()), ("i:s:5", 3));
        assert!(fill_kind(&point(ast::AttachPiece::Parameter(1)), &values[..1]).is_none());
        assert!(fill_kind(&point(ast::AttachPiece::Text("i".into())), &values).is_none());
    }

    #[test]
    fn kinds_can_be_patterns() {
        let kinds = |text: &str| {
            let part = |t: &str| ast::AttachPart {
                pieces: vec![ast::AttachPiece::Text(t.to_string())],
                quoted: false,
                span: Span::default(),
            };
            let parts = text.split(':').map(part).collect();
            let point = ast::AttachPoint { label: None, parts, text: text.into(), span: Span::default() };
            expand_kind(&point).into_iter().map(|p| p.text).collect::<Vec<_>>()
        };
        assert_eq!(kinds("t*:sched:sched_switch"), ["tracepoint:sched:sched_switch"]);
        assert_eq!(kinds("u*:/bin/sh:main"), ["uprobe:/bin/sh:main"]);
        assert_eq!(kinds("*:/bin/sh:sh:start"), ["usdt:/bin/sh:sh:start"]);
        assert_eq!(kinds("s*:cpu:1000"), ["software:cpu:1000"]);
        assert_eq!(kinds("*:vfs_read"), ["kprobe:vfs_read", "fentry:vfs_read", "rawtracepoint:vfs_read"]);
        assert!(kinds("p*:hz:99").is_empty() && kinds("tracepoint:a:b").is_empty() && kinds("beg*").is_empty());
    }

    #[test]
    fn periods() {
        let lit = |unit, n| Period { unit, count: Number::Literal(n) };
        for (text, want) in [
            ("interval:s:5", lit(PeriodUnit::Seconds, 5)),
            ("i:100ms", lit(PeriodUnit::Milliseconds, 100)),
            ("interval:2m", lit(PeriodUnit::Seconds, 120)),
            ("interval:1000000", lit(PeriodUnit::Nanoseconds, 1_000_000)),
        ] {
            assert_eq!(point(text).unwrap(), AttachPoint::Interval(want));
        }
        assert!(point("interval:s:0").is_err());
        assert!(point("profile:x:1").is_err());
    }

    #[test]
    fn offsets_and_addresses() {
        let AttachPoint::Kprobe { function, offset, .. } = point("k:vfs_read+0x10").unwrap() else { panic!() };
        assert_eq!((function.as_literal(), offset), (Some("vfs_read"), 16));
        assert!(matches!(
            point("u:/bin/x:0x1234").unwrap(),
            AttachPoint::Uprobe { at: UserLocation::Address(0x1234), .. }
        ));
        assert!(point("kr:f+4").is_err());
    }
}
