//! Attach points as they are written: patterns and parameters unresolved.
//!
//! In: a script's attach points, checked by the compiler. Out: what the runtime
//! expands and attaches on the target. Text that depends on a positional
//! parameter is kept in pieces until the parameter is known.

use serde::{Deserialize, Serialize};

/// Text with positional parameters in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Text(pub Vec<TextPart>);

/// A piece of [`Text`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TextPart {
    /// As written.
    Literal(String),
    /// `$N`, 1-based.
    Parameter(u32),
}

impl Text {
    /// Text without parameters.
    pub fn literal(s: impl Into<String>) -> Self {
        Text(vec![TextPart::Literal(s.into())])
    }

    /// The text, if no parameter is in it.
    pub fn as_literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [TextPart::Literal(s)] => Some(s),
            _ => None,
        }
    }

    /// The text with its parameters filled in; `parameter` maps a 1-based index
    /// to what was given.
    pub fn resolve(&self, parameter: impl Fn(u32) -> Option<String>) -> Result<String, u32> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                TextPart::Literal(s) => out.push_str(s),
                TextPart::Parameter(n) => out.push_str(&parameter(*n).ok_or(*n)?),
            }
        }
        Ok(out)
    }

    /// Does a literal part contain a wildcard?
    pub fn has_wildcard(&self) -> bool {
        self.0.iter().any(|p| matches!(p, TextPart::Literal(s) if is_pattern(s)))
    }
}

/// Does `text` contain wildcard characters (`*`, `?`, `[...]`)?
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// May no pattern stand for this kernel function? Tracing the first ones can hang a machine,
/// though the kernel allows it (its own tests, prog_tests/kprobe_multi_test.c, leave them
/// out); a part that the compiler cut off a function has arguments of its own; the last is a
/// place that ftrace gave up on (kernel/trace/ftrace.c, FTRACE_INVALID_FUNCTION).
pub fn left_out(function: &str) -> bool {
    matches!(function, "arch_cpu_idle" | "default_idle" | "bpf_dispatcher_xdp_func")
        || function.starts_with("rcu_")
        || function.contains(".part.")
        || function.starts_with("__ftrace_invalid_address__")
}

/// Shell-style match of `pattern` (`*`, `?`, `[a-z]`, `[!a]`) against all of `text`.
pub fn pattern_matches(pattern: &str, text: &str) -> bool {
    let (p, t) = (pattern.as_bytes(), text.as_bytes());
    // The classic two-pointer walk: on a mismatch go back to the last star and
    // let it swallow one byte more. Linear in practice, never exponential.
    let (mut i, mut j, mut star) = (0, 0, None);
    while j < t.len() {
        match p.get(i) {
            Some(b'*') => {
                star = Some((i, j));
                i += 1;
                continue;
            }
            Some(_) => {
                if let Some(next) = match_one(p, i, t[j]) {
                    (i, j) = (next, j + 1);
                    continue;
                }
            }
            None => {}
        }
        let Some((si, sj)) = star else { return false };
        star = Some((si, sj + 1));
        (i, j) = (si + 1, sj + 1);
    }
    p[i..].iter().all(|&b| b == b'*')
}

/// Matches the single-byte element of `p` at `i` and returns the index behind it.
fn match_one(p: &[u8], i: usize, byte: u8) -> Option<usize> {
    match p[i] {
        b'?' => Some(i + 1),
        b'[' => {
            let close = i + 2 + p.get(i + 2..)?.iter().position(|&b| b == b']')?;
            let (negate, set) = match p[i + 1] {
                b'!' | b'^' => (true, &p[i + 2..close]),
                _ => (false, &p[i + 1..close]),
            };
            let mut hit = false;
            let mut k = 0;
            while k < set.len() {
                if k + 2 < set.len() && set[k + 1] == b'-' {
                    hit |= (set[k]..=set[k + 2]).contains(&byte);
                    k += 3;
                } else {
                    hit |= set[k] == byte;
                    k += 1;
                }
            }
            (hit != negate).then_some(close + 1)
        }
        b => (b == byte).then_some(i + 1),
    }
}

/// A number known now or a positional parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Number {
    /// Known.
    Literal(u64),
    /// `$N`, 1-based.
    Parameter(u32),
}

/// Unit of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PeriodUnit {
    /// Times a second.
    Hertz,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

/// Period of a timer probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Period {
    /// Unit of `count`.
    pub unit: PeriodUnit,
    /// How many.
    pub count: Number,
}

/// Where in a binary a uprobe lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum UserLocation {
    /// Symbol (or pattern), plus an offset in bytes. `demangled`: matched against C++/Rust names without mangling.
    Symbol { name: Text, offset: u64, demangled: bool },
    /// Virtual address as `nm` prints it.
    Address(u64),
    /// Source line from the binary's line table.
    Line { file: String, line: u32, places: Vec<LinePlace> },
}

/// A place where the code of a source line begins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinePlace {
    /// Virtual address as `nm` prints it.
    pub address: u64,
    /// The function it lies in; empty if that is not known.
    pub function: String,
}

/// One attach point.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AttachPoint {
    /// Once, before all others.
    Begin,
    /// Once, after all others are detached.
    End,
    /// When the tracer itself receives this signal (`SIGUSR1`, ...).
    SelfSignal { signal: String },
    /// Runs under `--test` only.
    Test { name: String },
    /// Runs under `--bench` only.
    Bench { name: String },
    /// Timer on one CPU.
    Interval(Period),
    /// Timer on every CPU.
    Profile(Period),
    /// Software perf event; the count is how many events make one hit.
    Software { event: String, count: Option<Number> },
    /// Hardware perf event.
    Hardware { event: String, count: Option<Number> },
    /// Tracepoint.
    Tracepoint { category: Text, event: Text },
    /// Raw tracepoint; `module` narrows where it is defined.
    RawTracepoint { module: Option<Text>, event: Text },
    /// Kernel function by name or pattern.
    Kprobe { ret: bool, module: Option<Text>, function: Text, offset: u64 },
    /// Kernel address.
    KprobeAddress { address: u64 },
    /// Kernel function through a BPF trampoline.
    Fentry { ret: bool, module: Option<Text>, function: Text },
    /// Function or place in a binary; without a path, in the program of the traced process.
    Uprobe { ret: bool, path: Text, at: UserLocation },
    /// Static user probe.
    Usdt { path: Text, provider: Option<Text>, name: Text },
    /// Hardware breakpoint. `mode` is a set of `r`, `w`, `x`.
    Watchpoint { at: WatchTarget, length: u32, mode: String, asynchronous: bool },
    /// BPF iterator; `pin` is a path below bpffs or an absolute one.
    Iter { kind: String, pin: Option<Text> },
}

/// What a watchpoint watches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WatchTarget {
    /// A fixed address.
    Address(Number),
    /// What the N-th argument of a function of the traced program points to. A
    /// program of its own, a uprobe without a path, sends the address.
    Argument { function: String, arg: u32 },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (p, t, want) in [
            ("vfs_*", "vfs_read", true),
            ("vfs_*", "xvfs_read", false),
            ("*_read*", "vfs_readv", true),
            ("a?c", "abc", true),
            ("a[b-d]c", "acc", true),
            ("a[!b]c", "abc", false),
            ("", "", true),
            ("*", "", true),
            ("a*b*c*d", "axxbyyczzd", true),
            ("a[", "a[", false),
        ] {
            assert_eq!(pattern_matches(p, t), want, "{p} {t}");
        }
    }
}
