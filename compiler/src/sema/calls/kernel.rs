//! Functions that call into the kernel by name, and those whose answer is only
//! known on the target: kfuncs, `comm(pid)`, `path()`, `uaddr()`, `skboutput()`.
//!
//! In: a call of the syntax tree. Out: a typed expression.

use super::{Call, constant_integer, constant_string, integer};
use crate::ctypes::CTypeId;
use crate::diagnostic::Diagnostic;
use crate::hir::tree::{BinaryOp, Expr, ExprKind, Intrinsic, ProgramKind};
use crate::hir::types::{Space, Type};
use crate::sema::builtins::{self, intrinsic};
use crate::sema::checker::{Checker, Typed, constant};
use crate::sema::convert::convert;
use crate::sema::types;
use btc_payload::event::Action;
use btc_payload::probe::{AttachPoint, UserLocation};
use btc_payload::start::StartValue;

/// Most bytes of a packet that `skboutput` keeps.
const PACKET: u32 = 4096;

fn call_of(which: Intrinsic, args: Vec<Expr>, ty: Type, call: &Call) -> Typed {
    Some(Expr { kind: ExprKind::Intrinsic { which, args }, ty, span: call.span })
}

/// `kfunc_exist(name)`: about the kernel that the tracer runs on.
pub(super) fn kfunc_exist(c: &mut Checker, call: &Call) -> Typed {
    let name = constant_string(c, call.arg(0)?, "the name")?;
    Some(c.start(StartValue::KfuncExists(name), Type::Bool, call.span))
}

/// `kfunc_allowed(name)`: may this probe's program call it on that kernel?
pub(super) fn kfunc_allowed(c: &mut Checker, call: &Call) -> Typed {
    use ProgramKind::*;
    let name = constant_string(c, call.arg(0)?, "the name")?;
    // `enum bpf_prog_type` (linux/bpf.h).
    let program = match c.kind() {
        Kprobe | Kretprobe | Uprobe | Uretprobe => 2,
        Tracepoint => 5,
        PerfEvent => 7,
        RawTracepoint | RawTracepointRun => 17,
        Fentry | Fexit | Iter => 26,
    };
    Some(c.start(StartValue::KfuncAllowed { name, program }, Type::Bool, call.span))
}

/// A call of a kernel function; the verifier decides whether it is one that
/// programs may call.
pub(super) fn kfunc(c: &mut Checker, call: &Call, ty: CTypeId) -> Typed {
    let signature = c.types().signature(ty)?;
    if call.args.len() != signature.params.len() || signature.variadic {
        let message =
            format!("the kernel's `{}` takes {} arguments, not {}", call.name, signature.params.len(), call.args.len());
        c.report(
            Diagnostic::error("E0401", message)
                .at(call.span, "wrong number of arguments")
                .help(format!("its type is `{}`", c.types().name_of(ty))),
        );
        return None;
    }
    let mut args = Vec::new();
    for (given, (name, param)) in call.args.iter().zip(&signature.params) {
        let what = format!("the argument `{}` of `{}`", name.as_deref().unwrap_or("?"), call.name);
        let want = types::from_ctype(c.types(), *param, Space::Kernel);
        let value = c.raw(given)?;
        args.push(match want {
            Type::Pointer { .. } if matches!(value.ty, Type::Str { .. }) => value,
            Type::Pointer { .. } => c.pointer_to_memory(value, &what)?,
            Type::Int { signed, .. } => {
                let value = c.decay(value);
                convert(c.integer(value, signed, &what)?, want)
            }
            _ => c.decay(value),
        });
    }
    let ret = types::from_ctype(c.types(), signature.ret, Space::Kernel);
    call_of(Intrinsic::Kfunc { name: call.name.to_string(), ty }, args, ret, call)
}

/// `comm(pid)`.
pub(super) fn comm(c: &mut Checker, call: &Call) -> Typed {
    let Some(pid) = call.arg(0) else { return builtins::identifier(c, "comm", call.span) };
    let pid = integer(c, pid, true, "the process id")?;
    call_of(Intrinsic::CommOfPid, vec![pid], Type::Str { size: 16 }, call)
}

/// `path(pointer to struct path)`.
pub(super) fn path(c: &mut Checker, call: &Call) -> Typed {
    use crate::hir::tree::ProgramKind::*;
    if !matches!(c.kind(), Fentry | Fexit | Iter) {
        return c.error("E0435", call.span, "`path` works in fentry, fexit and iter probes only", "");
    }
    let size = match call.arg(1) {
        Some(n) => match constant_integer(c, n, "the size")? {
            v if (1..=i64::from(u16::MAX)).contains(&v) => v as u32,
            _ => return c.error("E0435", n.span, "the size of a path is out of range", ""),
        },
        None => c.env.limits.max_strlen + 1,
    };
    let value = c.raw(call.arg(0)?)?;
    let pointer = c.pointer_to_memory(value, "the argument of `path`")?;
    call_of(Intrinsic::Path, vec![pointer], Type::Str { size }, call)
}

/// `uaddr(symbol)`: the address in the traced process of a symbol of the probed binary.
pub(super) fn uaddr(c: &mut Checker, call: &Call) -> Typed {
    let symbol = constant_string(c, call.arg(0)?, "the symbol")?;
    let (path, at) = match &c.probe.as_ref()?.attach {
        AttachPoint::Uprobe { ret, path, at } => {
            let single = match at {
                UserLocation::Symbol { name, .. } => !name.has_wildcard(),
                _ => true,
            };
            // At the return the instruction pointer is the caller's.
            (path.as_literal(), (single && !ret).then(|| at.clone()))
        }
        AttachPoint::Usdt { path, .. } => (path.as_literal(), None),
        _ => (None, None),
    };
    let Some(path) = path.map(str::to_string) else {
        return c.error("E0460", call.span, "`uaddr` works in uprobes and usdt probes only", "no binary is known here");
    };
    let size = match c.env.facts.symbol_size(&path, &symbol) {
        Some(n @ (1 | 2 | 4)) => n as u8,
        _ => 8,
    };
    let start = |c: &mut Checker, value| c.start(value, Type::U64, call.span);
    let link = start(c, StartValue::UserAddress { path: path.clone(), symbol, size: size.into() });
    let base = start(c, StartValue::UserBase { path: path.clone(), at: at.clone() });
    let reference = start(c, StartValue::UserReference { path, at });
    let code = builtins::task_chain(c, &["mm", "start_code"], call.span)?;
    let here = call_of(Intrinsic::UserBase, vec![base, convert(code, Type::U64)], Type::U64, call)?;
    let offset = binary(BinaryOp::Subtract, link, reference, Type::U64);
    let address = binary(BinaryOp::Add, here, offset, Type::U64);
    let to = Box::new(Type::Int { size, signed: false });
    Some(convert(address, Type::Pointer { to, space: Space::User }))
}

fn binary(op: BinaryOp, left: Expr, right: Expr, ty: Type) -> Expr {
    let span = left.span;
    Expr { kind: ExprKind::Binary { op, left: Box::new(left), right: Box::new(right) }, ty, span }
}

/// The smaller of two numbers, neither of which has an effect.
fn smaller(a: Expr, b: Expr) -> Expr {
    let (span, ty) = (a.span, a.ty.clone());
    let condition = Box::new(binary(BinaryOp::Less, a.clone(), b.clone(), Type::Bool));
    Expr { kind: ExprKind::Ternary { condition, then: Box::new(a), otherwise: Box::new(b) }, ty, span }
}

/// `skboutput(path, skb, length, offset)`: of a packet's linear part, what lies
/// between the offset and the length. Fragments in other pages are not followed:
/// the capture says of each packet how long it was and how much of it is there.
pub(super) fn skboutput(c: &mut Checker, call: &Call) -> Typed {
    let path = constant_string(c, call.arg(0)?, "the path")?;
    let skb = c.value(call.arg(1)?)?;
    let is_skb = c.types().find_struct("sk_buff").is_some_and(
        |t| matches!(&skb.ty, Type::Pointer { to, .. } if **to == Type::Struct { ctype: c.types().resolve(t) }),
    );
    if !is_skb {
        let message = "`skboutput` takes a pointer to a `struct sk_buff`";
        return c.error("E0436", skb.span, message, "not a packet");
    }
    let length = convert(integer(c, call.arg(2)?, false, "the length")?, Type::I64);
    let offset = convert(integer(c, call.arg(3)?, false, "the offset")?, Type::I64);
    let member = |c: &mut Checker, name, ty| {
        let value = builtins::field(c, skb.clone(), name, call.span)?;
        Some(convert(c.decay(value), ty))
    };
    let (data, whole) = (member(c, "data", Type::U64)?, member(c, "len", Type::I64)?);
    let apart = member(c, "data_len", Type::I64)?;
    let minus = |a, b| binary(BinaryOp::Subtract, a, b, Type::I64);
    let zero = constant(0, Type::I64, call.span);
    let wire = smaller(length.clone(), minus(whole.clone(), offset.clone()));
    let linear = smaller(length, minus(minus(whole, apart), offset.clone()));
    let some = binary(BinaryOp::Less, zero.clone(), linear.clone(), Type::Bool);
    let kept = Expr {
        kind: ExprKind::Ternary { condition: Box::new(some), then: Box::new(linear), otherwise: Box::new(zero) },
        ty: Type::I64,
        span: call.span,
    };
    let from = binary(BinaryOp::Add, data, convert(offset, Type::U64), Type::U64);
    let from = convert(from, Type::Pointer { to: Box::new(Type::Void), space: Space::Kernel });
    let bytes = call_of(Intrinsic::ReadBuf, vec![from, convert(kept, Type::U64)], Type::Buf { size: PACKET }, call)?;
    let now = intrinsic(Intrinsic::Nsecs(crate::hir::tree::Clock::Boot), Type::U64, call.span);
    let event = c.emit(Action::SkbOutput { path }, vec![now, convert(wire, Type::U32), bytes], call.span);
    let ExprKind::Emit { event, args } = event.kind else { return None };
    call_of(Intrinsic::SkbOutput(event), args, Type::I64, call)
}
