//! Functions that the tracer carries out: printf, print, time, join, cat,
//! system, exit. Each becomes a record.

use super::{Call, constant_string, constant_text};
use crate::diagnostic::Diagnostic;
use crate::hir::tree::{Expr, ExprKind, Intrinsic};
use crate::hir::types::{Space, Type};
use crate::sema::checker::{Checker, Typed, constant, literal};
use crate::sema::convert::convert;
use crate::syntax::ast;
use btc_payload::event::{Action, JOIN_MAX};
use btc_payload::format::{Conversion, Format, Spec};

/// Most arguments of a format, against records without bound.
const MAX_ARGUMENTS: usize = 64;

pub(super) fn printf(c: &mut Checker, call: &Call) -> Typed {
    formatted(c, call, Action::Printf)
}

pub(super) fn errorf(c: &mut Checker, call: &Call) -> Typed {
    formatted(c, call, Action::Errorf)
}

pub(super) fn warnf(c: &mut Checker, call: &Call) -> Typed {
    formatted(c, call, Action::Warnf)
}

pub(super) fn cat(c: &mut Checker, call: &Call) -> Typed {
    formatted(c, call, Action::Cat)
}

pub(super) fn system(c: &mut Checker, call: &Call) -> Typed {
    formatted(c, call, Action::System)
}

fn formatted(c: &mut Checker, call: &Call, action: fn(Format) -> Action) -> Typed {
    let first = call.arg(0)?;
    let text = constant_text(c, first, "the format")?;
    let format = match Format::parse(&text) {
        Ok(f) => f,
        Err(e) => return c.error("E0420", first.span, e.message, "in this format"),
    };
    let given = &call.args[1..];
    let specs: Vec<Spec> = format.conversions().copied().collect();
    let values: Vec<Option<Expr>> = given.iter().map(|a| argument(c, a)).collect();
    if specs.len() != given.len() {
        let message = format!(
            "the format has {} conversion{}, but {} argument{} given",
            specs.len(),
            if specs.len() == 1 { "" } else { "s" },
            given.len(),
            if given.len() == 1 { " is" } else { "s are" }
        );
        return c.error("E0421", call.span, message, "");
    }
    if given.len() > MAX_ARGUMENTS {
        return c.error("E0421", call.span, format!("more than {MAX_ARGUMENTS} arguments"), "");
    }
    let mut args = Vec::new();
    for ((spec, value), written) in specs.iter().zip(values).zip(given) {
        args.push(value.and_then(|v| fit_conversion(c, spec, v, written)));
    }
    let args = args.into_iter().collect::<Option<Vec<_>>>()?;
    Some(c.emit(action(format), args, call.span))
}

/// A value to show; positional parameters are decided by the conversion.
fn argument(c: &mut Checker, e: &ast::Expr) -> Typed {
    let value = c.value(e)?;
    Some(c.stored(value))
}

/// Checks a value against its conversion.
fn fit_conversion(c: &mut Checker, spec: &Spec, value: Expr, written: &ast::Expr) -> Typed {
    use Conversion::*;
    use Type as T;
    // `%s` of `$1` shows it as text whatever it is.
    if let (Text, ast::ExprKind::Positional(n)) = (spec.conversion, &written.kind) {
        return Some(c.positional_text(*n, written.span));
    }
    let ok = match spec.conversion {
        Signed | Unsigned | Hex | HexUpper | Octal | Char | GfpFlags => {
            matches!(
                value.ty,
                T::Bool
                    | T::Int { .. }
                    | T::Enum { .. }
                    | T::Pointer { .. }
                    | T::SyscallName
                    | T::SignalName
                    | T::ErrnoText
                    | T::Username
            )
        }
        Pointer => matches!(value.ty, T::Int { .. } | T::Pointer { .. }),
        Text => !matches!(value.ty, T::Void | T::Aggregate(_)),
        Buffer | BufferHex | BufferBare => matches!(value.ty, T::Buf { .. } | T::Str { .. }),
    };
    if ok {
        return Some(value);
    }
    let message = format!("`%{}` cannot show `{}`", spec.conversion.letters(), c.spell(&value.ty));
    let help = match &value.ty {
        T::Int { .. } => "`%d` shows integers",
        T::Str { .. } => "`%s` shows texts",
        T::Buf { .. } => "`%r` shows buffers",
        T::Pointer { .. } => "`%p` shows pointers; str() reads the text one points to",
        _ => "`%s` shows everything but integers",
    };
    c.report(Diagnostic::error("E0422", message).at(written.span, format!("`{}`", c.spell(&value.ty))).help(help));
    None
}

/// `print(value)`, `print(@map)`, `print(@map, top, div)`.
pub(super) fn print(c: &mut Checker, call: &Call) -> Typed {
    let first = call.arg(0)?;
    if let ast::ExprKind::Map(name) = &first.kind {
        let map = c.map(name, first.span);
        if c.map_info(map).value.is_none() {
            return super::maps::never_assigned(c, name, first.span);
        }
        let scalar = c.map_info(map).key == Some(Type::Tuple(Vec::new()));
        if scalar && call.args.len() > 1 {
            return c.error("E0423", call.span, "only maps with keys have a top", "");
        }
        let top = bound(c, call.arg(1), "top")?;
        let div = bound(c, call.arg(2), "div")?;
        return Some(c.emit(Action::PrintMap(map), vec![top, div], call.span));
    }
    if call.args.len() > 1 {
        return c.error("E0423", call.span, "`print` of a value takes one argument", "top and div are for maps");
    }
    if let Some(entry) = aggregate_entry(c, first)? {
        return Some(entry);
    }
    let value = match &first.kind {
        ast::ExprKind::Positional(n) => {
            let p = c.positional(*n);
            p.text = true;
            Expr { kind: ExprKind::Const(u64::from(*n)), ty: Type::Parameter { index: *n }, span: first.span }
        }
        _ => c.value(first)?,
    };
    let value = c.stored(value);
    Some(c.emit(Action::Print, vec![value], call.span))
}

/// `print(@m[key])` of an aggregation prints the entry: only the tracer can
/// show what is kept per CPU.
fn aggregate_entry(c: &mut Checker, e: &ast::Expr) -> Option<Typed> {
    let ast::ExprKind::Index { base, indices } = &e.kind else { return Some(None) };
    let ast::ExprKind::Map(name) = &base.kind else { return Some(None) };
    let map = c.map(name, base.span);
    if !matches!(c.map_info(map).value, Some(Type::Aggregate(_))) {
        return Some(None);
    }
    let key = c.map_key(map, indices, e.span)?;
    Some(Some(c.emit(Action::PrintMapEntry(map), vec![key], e.span)))
}

fn bound(c: &mut Checker, e: Option<&ast::Expr>, what: &str) -> Typed {
    let Some(e) = e else {
        return Some(constant(0, Type::U32, crate::span::Span::default()));
    };
    let value = c.value(e)?;
    match literal(&value) {
        Some(v) if v < 0 => c.error("E0424", e.span, format!("{what} cannot be negative"), ""),
        _ => c.integer(value, false, what).map(|v| convert(v, Type::U32)),
    }
}

/// `time()`, `time(format)`.
pub(super) fn time(c: &mut Checker, call: &Call) -> Typed {
    let format = match call.arg(0) {
        Some(f) => constant_string(c, f, "the format")?,
        None => "%H:%M:%S\n".to_string(),
    };
    Some(c.emit(Action::Time { format }, Vec::new(), call.span))
}

/// `exit()`, `exit(status)`.
pub(super) fn exit(c: &mut Checker, call: &Call) -> Typed {
    if c.probe.as_ref().is_some_and(|p| p.callbacks > 0) {
        return c.error("E0425", call.span, "`exit` cannot be called in a `for` loop", "leave the loop first");
    }
    let status = match call.arg(0) {
        Some(e) => super::integer(c, e, true, "the exit status")?,
        None => constant(0, Type::I64, call.span),
    };
    Some(c.emit(Action::Exit, vec![convert(status, Type::I64)], call.span))
}

/// `join(argv)`, `join(argv, separator)`.
pub(super) fn join(c: &mut Checker, call: &Call) -> Typed {
    let separator = match call.arg(1) {
        Some(s) => constant_string(c, s, "the separator")?,
        None => " ".to_string(),
    };
    let first = call.arg(0)?;
    let value = c.raw(first)?;
    let pointer = c.pointer_to_memory(value, "the argument of `join`")?;
    let space = match pointer.ty {
        Type::Pointer { space, .. } => space,
        _ => Space::Any,
    };
    let text = Type::Pointer { to: Box::new(Type::Int { size: 1, signed: true }), space };
    let pointer = convert(pointer, Type::Pointer { to: Box::new(text), space });
    let size = c.env.limits.max_strlen + 1;
    let array = Type::Array { elem: Box::new(Type::Str { size }), len: JOIN_MAX };
    let ty = Type::Tuple(vec![Type::U32, array]);
    let strings = Expr {
        kind: ExprKind::Intrinsic { which: Intrinsic::JoinArguments, args: vec![pointer] },
        ty,
        span: call.span,
    };
    Some(c.emit(Action::Join { separator }, vec![strings], call.span))
}
