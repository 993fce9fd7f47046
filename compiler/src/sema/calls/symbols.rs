//! Functions on symbols, stacks, processes, time and what the target looks up.

use super::{Call, constant_string, integer, text_parameter};
use crate::diagnostic::Diagnostic;
use crate::hir::tree::{Clock, Expr, ExprKind, Intrinsic, PidNamespace, ProgramKind};
use crate::hir::types::Type;
use crate::sema::builtins::{self, DEFAULT_FRAMES, intrinsic};
use crate::sema::checker::{Checker, Typed, literal};
use crate::sema::convert::convert;
use crate::span::Span;
use crate::syntax::ast;
use btc_payload::layout::StackMode;
use btc_payload::start::StartValue;

/// Signals by number (x86_64 and the generic ABI, asm-generic/signal.h).
const SIGNALS: &[(&str, i64)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// An integer shown in another form.
fn shown_as(c: &mut Checker, call: &Call, ty: Type) -> Typed {
    let value = integer(c, call.arg(0)?, true, &format!("the argument of `{}`", call.name))?;
    Some(Expr { span: call.span, ..convert(value, ty) })
}

/// An address as a number.
fn address(c: &mut Checker, call: &Call) -> Typed {
    let value = c.value(call.arg(0)?)?;
    match value.ty {
        Type::Pointer { .. } => Some(convert(value, Type::U64)),
        _ => c.integer(value, false, &format!("the argument of `{}`", call.name)),
    }
}

pub(super) fn ksym(c: &mut Checker, call: &Call) -> Typed {
    let value = address(c, call)?;
    Some(Expr { span: call.span, ..convert(value, Type::KernelSymbol) })
}

pub(super) fn usym(c: &mut Checker, call: &Call) -> Typed {
    let value = address(c, call)?;
    let kind = ExprKind::Intrinsic { which: Intrinsic::UserSymbol, args: vec![value] };
    Some(Expr { kind, ty: Type::UserSymbol, span: call.span })
}

pub(super) fn kaddr(c: &mut Checker, call: &Call) -> Typed {
    let name = name_or_parameter(c, call.arg(0)?, "the symbol")?;
    Some(c.start(StartValue::KernelAddress(name), Type::U64, call.span))
}

/// A text that the tracer looks up when it starts: written out, or a parameter, which
/// goes into the payload as `$N`.
fn name_or_parameter(c: &mut Checker, e: &ast::Expr, what: &str) -> Option<String> {
    match text_parameter(e) {
        Some(n) => {
            c.positional(n).text = true;
            Some(format!("${n}"))
        }
        None => constant_string(c, e, what),
    }
}

/// `percpu_kaddr(symbol, cpu)`.
pub(super) fn percpu_kaddr(c: &mut Checker, call: &Call) -> Typed {
    let name = name_or_parameter(c, call.arg(0)?, "the symbol")?;
    let base = c.start(StartValue::PerCpuAddress(name), Type::U64, call.span);
    let cpu = match call.arg(1) {
        Some(e) => integer(c, e, true, "the CPU")?,
        None => crate::sema::checker::constant(-1i64 as u64, Type::I64, call.span),
    };
    let kind = ExprKind::Intrinsic { which: Intrinsic::PerCpuPointer, args: vec![base, cpu] };
    Some(Expr { kind, ty: Type::U64, span: call.span })
}

pub(super) fn cgroupid(c: &mut Checker, call: &Call) -> Typed {
    let path = name_or_parameter(c, call.arg(0)?, "the path")?;
    Some(c.start(StartValue::CgroupId(path), Type::U64, call.span))
}

pub(super) fn cgroup_path(c: &mut Checker, call: &Call) -> Typed {
    let controller = match call.arg(1) {
        Some(f) => constant_string(c, f, "the filter")?,
        None => String::new(),
    };
    shown_as(c, call, Type::CgroupPath { controller })
}

pub(super) fn strerror(c: &mut Checker, call: &Call) -> Typed {
    shown_as(c, call, Type::ErrnoText)
}

pub(super) fn signal_name(c: &mut Checker, call: &Call) -> Typed {
    shown_as(c, call, Type::SignalName)
}

pub(super) fn syscall_name(c: &mut Checker, call: &Call) -> Typed {
    shown_as(c, call, Type::SyscallName)
}

/// `strftime(format, ns)`.
pub(super) fn strftime(c: &mut Checker, call: &Call) -> Typed {
    let format = constant_string(c, call.arg(0)?, "the format")?;
    let time = call.arg(1)?;
    if let ast::ExprKind::Call { name, args } = &time.kind
        && name.value == "nsecs"
        && matches!(word(args.first()).as_deref(), Some("monotonic"))
    {
        return c.error(
            "E0470",
            time.span,
            "this clock has no date",
            "`nsecs`, `nsecs(tai)` and `nsecs(sw_tai)` have one",
        );
    }
    let value = integer(c, time, false, "the time")?;
    Some(Expr { span: call.span, ..convert(value, Type::Timestamp { format }) })
}

/// `nsecs(clock)`.
pub(super) fn nsecs(c: &mut Checker, call: &Call) -> Typed {
    let clock = match word(call.arg(0)).as_deref() {
        None if call.args.is_empty() => Clock::Boot,
        Some("boot") => Clock::Boot,
        Some("monotonic") => Clock::Monotonic,
        Some("tai") => Clock::Tai,
        Some("sw_tai") => Clock::SoftwareTai,
        Some("coarse") => Clock::Coarse,
        _ => return c.error("E0461", call.span, "unknown clock", "boot, monotonic, tai or sw_tai"),
    };
    Some(intrinsic(Intrinsic::Nsecs(clock), Type::U64, call.span))
}

/// A bare word as an argument.
fn word(e: Option<&ast::Expr>) -> Option<String> {
    match &e?.kind {
        ast::ExprKind::Identifier(w) => Some(w.clone()),
        _ => None,
    }
}

fn namespace(c: &mut Checker, call: &Call) -> Option<PidNamespace> {
    match word(call.arg(0)).as_deref() {
        None if call.args.is_empty() => Some(PidNamespace::Current),
        Some("curr_ns") => Some(PidNamespace::Current),
        Some("init") => Some(PidNamespace::Initial),
        _ => c.error("E0462", call.span, "unknown PID namespace", "curr_ns or init"),
    }
}

pub(super) fn pid(c: &mut Checker, call: &Call) -> Typed {
    let ns = namespace(c, call)?;
    Some(intrinsic(Intrinsic::Pid(ns), Type::U32, call.span))
}

pub(super) fn tid(c: &mut Checker, call: &Call) -> Typed {
    let ns = namespace(c, call)?;
    Some(intrinsic(Intrinsic::Tid(ns), Type::U32, call.span))
}

pub(super) fn ppid(c: &mut Checker, call: &Call) -> Typed {
    of_task(c, call, "tgid")
}

pub(super) fn pcomm(c: &mut Checker, call: &Call) -> Typed {
    of_task(c, call, "comm")
}

fn of_task(c: &mut Checker, call: &Call, what: &str) -> Typed {
    let Some(task) = call.arg(0) else { return builtins::identifier(c, call.name, call.span) };
    let task = c.value(task)?;
    if !c.types().find_struct("task_struct").is_some_and(
        |t| matches!(&task.ty, Type::Pointer { to, .. } if **to == Type::Struct { ctype: c.types().resolve(t) }),
    ) {
        let message = format!("`{}` takes a pointer to a task_struct", call.name);
        return c.error("E0463", call.span, message, "not a task");
    }
    builtins::parent_of(c, task, what, call.span)
}

/// `reg("name")`.
pub(super) fn reg(c: &mut Checker, call: &Call) -> Typed {
    use ProgramKind::*;
    if !matches!(c.kind(), Kprobe | Kretprobe | Uprobe | Uretprobe | PerfEvent) {
        return c.error("E0464", call.span, "this kind of probe has no registers", "");
    }
    let first = call.arg(0)?;
    let mut name = constant_string(c, first, "the register")?;
    // The same name on every architecture.
    if name == "pc" {
        name = "ip".into();
    }
    let registers = crate::target::X86_64.registers;
    if !registers.iter().any(|(r, _)| *r == name) {
        let names: Vec<_> = registers.iter().map(|(r, _)| *r).collect();
        return c.error("E0465", first.span, format!("unknown register `{name}`"), &names.join(", "));
    }
    Some(intrinsic(Intrinsic::Register(name), Type::U64, call.span))
}

pub(super) fn signal(c: &mut Checker, call: &Call) -> Typed {
    send_signal(c, call, false)
}

pub(super) fn signal_thread(c: &mut Checker, call: &Call) -> Typed {
    send_signal(c, call, true)
}

fn send_signal(c: &mut Checker, call: &Call, thread: bool) -> Typed {
    let first = call.arg(0)?;
    let value = c.value(first)?;
    let number = match &value.kind {
        ExprKind::Str(name) => {
            let name = String::from_utf8_lossy(name).to_ascii_uppercase();
            let bare = name.strip_prefix("SIG").unwrap_or(&name);
            match SIGNALS.iter().find(|(n, _)| *n == bare) {
                Some((_, v)) => crate::sema::checker::constant(*v as u64, Type::I64, first.span),
                None => return c.error("E0466", first.span, format!("unknown signal `{name}`"), ""),
            }
        }
        _ => {
            if literal(&value).is_some_and(|v| !(1..=64).contains(&v)) {
                return c.error("E0466", first.span, "a signal is a number from 1 to 64", "out of range");
            }
            c.integer(value, true, "the signal")?
        }
    };
    let kind = ExprKind::Intrinsic { which: Intrinsic::Signal { thread }, args: vec![convert(number, Type::I64)] };
    Some(Expr { kind, ty: Type::Void, span: call.span })
}

pub(super) fn override_return(c: &mut Checker, call: &Call) -> Typed {
    if c.kind() != ProgramKind::Kprobe {
        return c.error("E0467", call.span, "`override` works in kprobes only", "");
    }
    let value = integer(c, call.arg(0)?, false, "the value")?;
    let kind = ExprKind::Intrinsic { which: Intrinsic::Override, args: vec![value] };
    Some(Expr { kind, ty: Type::Void, span: call.span })
}

pub(super) fn kstack(c: &mut Checker, call: &Call) -> Typed {
    stack(c, false, call.args, call.span)
}

pub(super) fn ustack(c: &mut Checker, call: &Call) -> Typed {
    stack(c, true, call.args, call.span)
}

/// `kstack`/`ustack` with mode and number of frames in any order of the reference.
pub(in crate::sema) fn stack(c: &mut Checker, user: bool, args: &[ast::Expr], span: Span) -> Typed {
    let configured = crate::sema::config::value(&c.program.settings, "stack_mode").and_then(builtins::stack_mode);
    let (mut mode, mut frames) = (configured.unwrap_or_default(), DEFAULT_FRAMES);
    let mut count = Vec::new();
    for a in args {
        if let Some(name) = word(Some(a)) {
            let Some(m) = builtins::stack_mode(&name) else {
                return c.error(
                    "E0468",
                    a.span,
                    format!("unknown stack mode `{name}`"),
                    "bpftrace, perf, raw or build_id",
                );
            };
            mode = m;
            continue;
        }
        let given = super::given_number(c, a).map(i128::from);
        let value = c.value(a)?;
        match given.or_else(|| literal(&value)) {
            Some(n) if (1..=i128::from(DEFAULT_FRAMES)).contains(&n) => frames = n as u32,
            Some(n) if n > i128::from(DEFAULT_FRAMES) => {
                // PERF_MAX_STACK_DEPTH, unless kernel.perf_event_max_stack was raised.
                let message = format!("of {n} frames the kernel records 127 at most");
                c.report_once(Diagnostic::warning("W0469", message).at(a.span, "127 are taken"));
                frames = DEFAULT_FRAMES;
            }
            // A parameter of the tracer: room for as many as there can be.
            None if matches!(value.kind, ExprKind::Start(_)) => {
                count = vec![c.integer(value, false, "the number of frames")?];
            }
            _ => return c.error("E0469", a.span, "the number of frames must be a constant above zero", ""),
        }
    }
    if mode == StackMode::BuildId && !user {
        return c.error("E0468", span, "kernel stacks have no build ids", "build_id is for ustack");
    }
    let kind = ExprKind::Intrinsic { which: Intrinsic::StackTrace, args: count };
    Some(Expr { kind, ty: Type::Stack { user, mode, frames }, span })
}
