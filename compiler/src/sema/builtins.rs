//! Builtins: words that are values. One table row each.
//!
//! In: an identifier. Out: a typed expression. A builtin may also be written as
//! a call (`pid()`); those that take arguments are in `calls`. Words that are no
//! builtin are enumerators, constants of C headers, or unknown.

use super::checker::{Checker, Typed, constant};
use super::expr::text;
use super::{Constant, calls, types};
use crate::ctypes::{Origin, nearest};
use crate::diagnostic::Diagnostic;
use crate::hir::tree::{Clock, Expr, ExprKind, Intrinsic, PidNamespace, ProgramKind};
use crate::hir::types::{Space, Type};
use crate::span::Span;
use btc_payload::layout::StackMode;
use btc_payload::start::StartValue;

/// A builtin.
pub(super) struct Builtin {
    /// As written.
    pub name: &'static str,
    build: fn(&mut Checker, Span) -> Typed,
}

/// Longest command name with its NUL (`TASK_COMM_LEN`, linux/sched.h).
const COMM_SIZE: u32 = 16;

/// Frames of a stack unless a number is given.
pub(super) const DEFAULT_FRAMES: u32 = 127;

macro_rules! value {
    ($which:expr, $ty:expr) => {
        |_, span| Some(intrinsic($which, $ty, span))
    };
}

/// All builtins, sorted by name.
pub(super) static BUILTINS: &[Builtin] = &[
    Builtin { name: "args", build: |c, s| c.all_arguments(s) },
    Builtin { name: "cgroup", build: value!(Intrinsic::CgroupId, Type::U64) },
    Builtin { name: "comm", build: value!(Intrinsic::Comm, Type::Str { size: COMM_SIZE }) },
    Builtin { name: "config", build: settings },
    Builtin { name: "cpid", build: |c, s| Some(c.start(StartValue::ChildPid, Type::U64, s)) },
    Builtin { name: "cpu", build: value!(Intrinsic::Cpu, Type::U32) },
    Builtin { name: "ctx", build: context },
    Builtin { name: "curtask", build: current_task },
    Builtin { name: "default_str_length", build: |c, s| Some(constant(text_length(c), Type::I64, s)) },
    Builtin { name: "elapsed", build: value!(Intrinsic::Elapsed, Type::U64) },
    Builtin { name: "func", build: function },
    Builtin { name: "gid", build: value!(Intrinsic::Gid, Type::U32) },
    Builtin { name: "has_cpid", build: |c, s| Some(c.start(StartValue::HasChild, Type::Bool, s)) },
    Builtin { name: "jiffies", build: value!(Intrinsic::Jiffies, Type::U64) },
    Builtin { name: "kstack", build: |c, s| calls::stack(c, false, &[], s) },
    Builtin { name: "ncpus", build: |c, s| Some(c.start(StartValue::Cpus, Type::U64, s)) },
    Builtin { name: "nsecs", build: value!(Intrinsic::Nsecs(Clock::Boot), Type::U64) },
    Builtin { name: "numaid", build: value!(Intrinsic::NumaNode, Type::U32) },
    Builtin { name: "pid", build: value!(Intrinsic::Pid(PidNamespace::Current), Type::U32) },
    Builtin { name: "ppid", build: |c, s| parent(c, "tgid", s) },
    Builtin { name: "pcomm", build: |c, s| parent(c, "comm", s) },
    Builtin { name: "leader_comm", build: |c, s| task_chain(c, &["group_leader", "comm"], s) },
    Builtin { name: "leader_tid", build: |c, s| task_chain(c, &["group_leader", "pid"], s) },
    Builtin { name: "probe", build: value!(Intrinsic::AttachId, Type::ProbeName) },
    Builtin { name: "probetype", build: probe_type },
    Builtin { name: "rand", build: value!(Intrinsic::Random, Type::U32) },
    Builtin { name: "retval", build: |c, s| c.return_value(s) },
    Builtin { name: "tid", build: value!(Intrinsic::Tid(PidNamespace::Current), Type::U32) },
    Builtin { name: "uid", build: value!(Intrinsic::Uid, Type::U32) },
    Builtin { name: "usermode", build: user_mode },
    Builtin { name: "username", build: username },
    Builtin { name: "ustack", build: |c, s| calls::stack(c, true, &[], s) },
];

/// Is the word a builtin (also `arg0`, `sarg1`, ...)?
pub fn is_builtin(name: &str) -> bool {
    BUILTINS.iter().any(|b| b.name == name) || numbered(name).is_some()
}

/// `argN` and `sargN`: stack argument?, and N.
fn numbered(name: &str) -> Option<(bool, u32)> {
    let (stack, digits) = match name.strip_prefix("sarg") {
        Some(d) => (true, d),
        None => (false, name.strip_prefix("arg")?),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse().ok().map(|n| (stack, n)) } else { None }
}

/// An intrinsic without arguments.
pub(super) fn intrinsic(which: Intrinsic, ty: Type, span: Span) -> Expr {
    Expr { kind: ExprKind::Intrinsic { which, args: Vec::new() }, ty, span }
}

/// The value of a word.
pub(super) fn identifier(c: &mut Checker, name: &str, span: Span) -> Typed {
    // What bpftrace's own library calls them.
    let name = name.strip_prefix("__builtin_").filter(|n| is_builtin(n)).unwrap_or(name);
    if let Some(b) = BUILTINS.iter().find(|b| b.name == name) {
        return (b.build)(c, span);
    }
    if let Some((stack, n)) = numbered(name) {
        return argument(c, name, stack, n, span);
    }
    if let Some((ctype, value)) = c.types().find_enumerator(name) {
        return Some(enumerator(c, name, ctype, value, span));
    }
    match c.env.facts.constant(name) {
        Some(Constant::Int(v)) => return Some(constant(v as u64, types::literal_type(v as u64, v < 0), span)),
        Some(Constant::Text(t)) => return Some(text(t.as_bytes(), span)),
        None => {}
    }
    unknown(c, name, span)
}

fn enumerator(c: &mut Checker, name: &str, ctype: crate::ctypes::CTypeId, value: i64, span: Span) -> Expr {
    let ty = types::wide_enum(types::from_ctype(c.types(), ctype, Space::Kernel));
    if c.types().get(ctype).origin == Origin::Kernel {
        return Expr { kind: ExprKind::KernelEnumerator { ctype, name: name.into(), value }, ty, span };
    }
    constant(value as u64, ty, span)
}

fn unknown(c: &mut Checker, name: &str, span: Span) -> Typed {
    let mut d =
        Diagnostic::error("E0206", format!("unknown word `{name}`")).at(span, "not a builtin, constant or enumerator");
    let words = BUILTINS.iter().map(|b| b.name).chain(calls::names());
    if let Some(close) = nearest(name, words) {
        d = d.help(format!("did you mean `{close}`?"));
    } else if let Some(close) = c.types().similar_enumerator(name) {
        d = d.help(format!("did you mean `{close}`?"));
    } else {
        d = d.help("variables begin with `$`, maps with `@`; constants of your own headers need #include and -I");
    }
    c.report(d);
    None
}

/// `argN`: register arguments of traced functions, words of a raw tracepoint.
fn argument(c: &mut Checker, name: &str, stack: bool, n: u32, span: Span) -> Typed {
    use ProgramKind::*;
    let kind = c.kind();
    let usdt = c.probe.as_ref().is_some_and(|p| matches!(p.attach, btc_payload::probe::AttachPoint::Usdt { .. }));
    let allowed = match kind {
        Kprobe | Uprobe => true,
        RawTracepoint => !stack,
        _ => false,
    };
    if !allowed {
        let message = format!("`{name}` does not exist in this kind of probe");
        let help = match kind {
            Fentry | Fexit | Tracepoint => "arguments have names here: `args.name`",
            _ => "kprobe, uprobe, usdt and rawtracepoint have arguments by number",
        };
        return c.error("E0287", span, message, help);
    }
    // Six registers carry arguments on x86_64; raw tracepoints and usdt have up to twelve.
    let limit = if kind == RawTracepoint || usdt {
        11
    } else if stack {
        63
    } else {
        5
    };
    if n > limit {
        let message = format!("`{name}` is out of range");
        return c.error("E0288", span, message, &format!("0 to {limit}; later ones are on the stack: sarg0, ..."));
    }
    let which = if stack { Intrinsic::StackArg(n as u8) } else { Intrinsic::Arg(n as u8) };
    Some(intrinsic(which, Type::I64, span))
}

/// What `config` shows of each setting that nobody set; the runtime's own defaults
/// (its `settings.rs`) are the same.
const CONFIG: &[(&str, &str)] = &[
    ("cpp_demangle", "true"),
    ("lazy_symbolication", "false"),
    ("print_maps_on_exit", "true"),
    ("use_blazesym", "false"),
    ("show_debug_info", "true"),
    ("log_size", "1000000"),
    ("max_bpf_progs", "1024"),
    ("max_cat_bytes", "10240"),
    ("max_map_keys", "4096"),
    ("max_probes", "1024"),
    ("max_strlen", "1024"),
    ("on_stack_limit", "32"),
    ("perf_rb_pages", "1024"),
    ("str_trunc_trailer", ".."),
    ("unstable_import_statement", "enable"),
    ("unstable_tseries", "enable"),
    ("unstable_typeinfo", "enable"),
    ("missing_probes", "error"),
    ("stack_mode", "bpftrace"),
    ("license", "GPL"),
];

/// `max_strlen` as the user knows it; a text of the default length holds a byte less.
fn text_length(c: &Checker) -> u64 {
    super::config::value(&c.program.settings, "max_strlen").and_then(|v| v.parse().ok()).unwrap_or(1024)
}

/// `config`: the settings in force as a record. Numbers are those of the run, whose
/// environment may change them; what code was built by is as built.
fn settings(c: &mut Checker, span: Span) -> Typed {
    let (mut elements, mut fields) = (Vec::new(), Vec::new());
    for (name, default) in CONFIG {
        let e = setting(c, name, default, span);
        fields.push(((*name).to_string(), e.ty.clone()));
        elements.push(e);
    }
    let evaluation = (0..elements.len() as u32).collect();
    Some(Expr { kind: ExprKind::Tuple { elements, evaluation }, ty: Type::Record(fields), span })
}

/// One of them, as [`CONFIG`] lists it; `None` for those that only the runtime knows.
pub(super) fn setting_value(c: &mut Checker, name: &str, span: Span) -> Typed {
    let (name, default) = CONFIG.iter().find(|(n, _)| *n == name)?;
    Some(setting(c, name, default, span))
}

fn setting(c: &mut Checker, name: &str, default: &str, span: Span) -> Expr {
    use super::config::Form;
    let given = super::config::value(&c.program.settings, name).map(str::to_string);
    let written = given.unwrap_or_else(|| default.to_string());
    match super::config::find(name).map(|s| s.form) {
        // As `config::check` writes them, or as the defaults here are written.
        Some(Form::Bool) => constant(u64::from(matches!(written.as_str(), "1" | "true")), Type::Bool, span),
        Some(Form::Number(..)) if name == "max_strlen" => constant(text_length(c), Type::U64, span),
        Some(Form::Number(..)) => c.start(StartValue::Setting(name.to_string()), Type::U64, span),
        _ => text(written.as_bytes(), span),
    }
}

fn current_task(c: &mut Checker, span: Span) -> Typed {
    let to = match c.types().find_struct("task_struct") {
        Some(ctype) => Type::Struct { ctype },
        None => Type::Void,
    };
    Some(intrinsic(Intrinsic::CurrentTask, Type::Pointer { to: Box::new(to), space: Space::Kernel }, span))
}

/// `curtask.a.b`.
pub(super) fn task_chain(c: &mut Checker, path: &[&str], span: Span) -> Typed {
    let mut e = current_task(c, span)?;
    for step in path {
        e = field(c, e, step, span)?;
    }
    Some(c.decay(e))
}

pub(super) fn field(c: &mut Checker, e: Expr, name: &str, span: Span) -> Typed {
    let e = if matches!(e.ty, Type::Pointer { .. }) { c.dereference(e, span)? } else { e };
    let Type::Struct { ctype } = e.ty else { return None };
    let Some(path) = c.types().field(ctype, name) else {
        let message = format!("the kernel's `{}` has no `{name}`", c.types().name_of(ctype));
        return c.error("E0271", span, message, "this builtin needs it");
    };
    let ty = types::from_ctype(c.types(), path.ty, Space::Kernel);
    Some(Expr { kind: ExprKind::Field { base: Box::new(e), field: path }, ty, span })
}

fn parent(c: &mut Checker, what: &str, span: Span) -> Typed {
    task_chain(c, &["real_parent", what], span)
}

/// `ppid(task)` and `pcomm(task)`.
pub(super) fn parent_of(c: &mut Checker, task: Expr, what: &str, span: Span) -> Typed {
    let e = field(c, task, "real_parent", span)?;
    let e = field(c, e, what, span)?;
    Some(c.decay(e))
}

fn context(c: &mut Checker, span: Span) -> Typed {
    let attach = c.probe.as_ref()?.attach.clone();
    let to = match &attach {
        btc_payload::probe::AttachPoint::Iter { kind, .. } => {
            let Some(ctype) = c.types().find_struct(&format!("bpf_iter__{kind}")) else {
                return c.error("E0289", span, format!("the reference kernel has no iterator `{kind}`"), "");
            };
            Type::Struct { ctype }
        }
        _ if c.kind() == ProgramKind::RawTracepointRun => {
            return c.error(
                "E0287",
                span,
                "`ctx` does not exist in this kind of probe",
                "nothing in the kernel calls it",
            );
        }
        _ => match c.kind() {
            ProgramKind::Kprobe | ProgramKind::Kretprobe | ProgramKind::Uprobe | ProgramKind::Uretprobe => {
                c.types().find_struct("pt_regs").map_or(Type::Void, |ctype| Type::Struct { ctype })
            }
            _ => Type::Void,
        },
    };
    Some(Expr { kind: ExprKind::Context, ty: Type::Pointer { to: Box::new(to), space: Space::Context }, span })
}

fn function(c: &mut Checker, span: Span) -> Typed {
    use ProgramKind::*;
    match c.kind() {
        Kprobe | Kretprobe | Fentry | Fexit | Uprobe | Uretprobe => {
            Some(intrinsic(Intrinsic::AttachId, Type::FunctionName, span))
        }
        _ => c.error("E0287", span, "`func` does not exist in this kind of probe", "only function probes have one"),
    }
}

fn probe_type(c: &mut Checker, span: Span) -> Typed {
    use btc_payload::probe::AttachPoint::*;
    let name = match &c.probe.as_ref()?.attach {
        Begin | End | SelfSignal { .. } => "special",
        Test { .. } => "test",
        Bench { .. } => "bench",
        Interval(_) => "interval",
        Profile(_) => "profile",
        Software { .. } => "software",
        Hardware { .. } => "hardware",
        Tracepoint { .. } => "tracepoint",
        RawTracepoint { .. } => "rawtracepoint",
        Kprobe { ret: false, .. } | KprobeAddress { .. } => "kprobe",
        Kprobe { .. } => "kretprobe",
        Fentry { ret: false, .. } => "fentry",
        Fentry { .. } => "fexit",
        Uprobe { ret: false, .. } => "uprobe",
        Uprobe { .. } => "uretprobe",
        Usdt { .. } => "usdt",
        Watchpoint { .. } => "watchpoint",
        Iter { .. } => "iter",
    };
    Some(text(name.as_bytes(), span))
}

/// `usermode`: was user code interrupted?
fn user_mode(c: &mut Checker, span: Span) -> Typed {
    match c.kind() {
        ProgramKind::PerfEvent => Some(intrinsic(Intrinsic::UserMode, Type::I64, span)),
        // What these interrupt is known: begin and end run on the tracer's own behalf.
        ProgramKind::Uprobe | ProgramKind::Uretprobe | ProgramKind::RawTracepointRun => {
            Some(constant(1, Type::I64, span))
        }
        _ => Some(constant(0, Type::I64, span)),
    }
}

fn username(_: &mut Checker, span: Span) -> Typed {
    let uid = intrinsic(Intrinsic::Uid, Type::U32, span);
    Some(super::convert::convert(uid, Type::Username))
}

/// The mode of a stack by its name.
pub(super) fn stack_mode(name: &str) -> Option<StackMode> {
    Some(match name {
        "bpftrace" => StackMode::Bpftrace,
        "perf" => StackMode::Perf,
        "raw" => StackMode::Raw,
        "build_id" => StackMode::BuildId,
        _ => return None,
    })
}
