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
use btc_payload::format::{Conversion, Format, Piece, Spec};

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

/// A constant format.
fn format(c: &mut Checker, written: &ast::Expr) -> Option<Format> {
    let text = constant_text(c, written, "the format")?;
    match Format::parse(&text) {
        Ok((format, stray)) => {
            if let Some(&at) = stray.first() {
                let word = String::from_utf8_lossy(&text[at..text.len().min(at + 2)]).escape_default().to_string();
                let message = format!("`{word}` is no conversion: it is printed as it stands");
                c.warn("W0420", written.span, message, "`%%` is a percent sign");
            }
            Some(format)
        }
        Err(e) => c.error("E0420", written.span, e.message, "in this format"),
    }
}

fn formatted(c: &mut Checker, call: &Call, action: fn(Format) -> Action) -> Typed {
    let first = call.arg(0)?;
    let format = format(c, first)?;
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
        Pointer => matches!(value.ty, T::Int { .. } | T::Pointer { .. } | T::Bool),
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
    let value = shown(c, first)?;
    Some(c.emit(Action::Print, vec![value], call.span))
}

/// A value that is only shown. Parameters of the script, also those within tuples
/// and records, are shown as they were given: as numbers or as text.
fn shown(c: &mut Checker, e: &ast::Expr) -> Typed {
    let span = e.span;
    let (elements, ty) = match &e.kind {
        ast::ExprKind::Positional(n) => {
            c.positional(*n).text = true;
            return Some(Expr { kind: ExprKind::Const(u64::from(*n)), ty: Type::Parameter { index: *n }, span });
        }
        ast::ExprKind::Tuple(list) if has_parameter(e) => {
            let elements = list.iter().map(|e| shown(c, e)).collect::<Option<Vec<_>>>()?;
            let ty = Type::Tuple(elements.iter().map(|e| e.ty.clone()).collect());
            (elements, ty)
        }
        // Built as ever, which checks the names of the fields.
        ast::ExprKind::Record(fields) if has_parameter(e) => {
            let Type::Record(mut named) = c.without_effects(|c| c.value(e))?.ty else { return None };
            let elements = fields.iter().map(|(_, e)| shown(c, e)).collect::<Option<Vec<_>>>()?;
            named.iter_mut().zip(&elements).for_each(|((_, ty), e)| *ty = e.ty.clone());
            (elements, Type::Record(named))
        }
        _ => {
            let value = c.value(e)?;
            return Some(c.stored(value));
        }
    };
    let evaluation = (0..elements.len() as u32).collect();
    Some(Expr { kind: ExprKind::Tuple { elements, evaluation }, ty, span })
}

/// Does a tuple or record hold a parameter of the script as it is?
fn has_parameter(e: &ast::Expr) -> bool {
    match &e.kind {
        ast::ExprKind::Positional(_) => true,
        ast::ExprKind::Tuple(elements) => elements.iter().any(has_parameter),
        ast::ExprKind::Record(fields) => fields.iter().any(|(_, e)| has_parameter(e)),
        _ => false,
    }
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

/// `debugf(format, args...)`: the kernel formats it (bpf_trace_printk, three
/// arguments), so only what it knows can be shown.
pub(super) fn debugf(c: &mut Checker, call: &Call) -> Typed {
    let first = call.arg(0)?;
    let format = format(c, first)?;
    let specs: Vec<Spec> = format.conversions().copied().collect();
    if specs.len() != call.args.len() - 1 {
        let message = format!("the format has {} conversions, but {} arguments", specs.len(), call.args.len() - 1);
        return c.error("E0421", call.span, message, "");
    }
    let mut args = Vec::new();
    for (spec, written) in specs.iter().zip(&call.args[1..]) {
        let value = argument(c, written)?;
        let value = fit_conversion(c, spec, value, written)?;
        if !value.ty.is_scalar() && !matches!(value.ty, Type::Str { .. }) {
            let message = format!("`debugf` cannot show `{}`", c.spell(&value.ty));
            return c.error("E0422", written.span, message, "the kernel shows integers and texts");
        }
        args.push(value);
    }
    let mut kernel = Vec::new();
    for piece in &format.pieces {
        match piece {
            Piece::Literal(t) => t.iter().for_each(|&b| kernel.extend(if b == b'%' { vec![b, b] } else { vec![b] })),
            Piece::Conversion(spec) => kernel.extend_from_slice(match spec.conversion {
                Conversion::Signed => b"%lld",
                Conversion::Unsigned => b"%llu",
                Conversion::Hex | Conversion::HexUpper => b"%llx",
                Conversion::Pointer => b"0x%llx",
                Conversion::Text => b"%s",
                _ => return c.error("E0422", first.span, "`debugf` knows %d %u %x %p %s only", "in this format"),
            }),
        }
    }
    kernel.push(0);
    let kind = ExprKind::Intrinsic { which: Intrinsic::Debugf(kernel), args };
    Some(Expr { kind, ty: Type::Void, span: call.span })
}

/// `unwatch(address)`: stops the watchpoints on an address.
pub(super) fn unwatch(c: &mut Checker, call: &Call) -> Typed {
    let value = c.value(call.arg(0)?)?;
    let address = match value.ty {
        Type::Pointer { .. } => value,
        _ => c.integer(value, false, "the address")?,
    };
    Some(c.emit(Action::Unwatch, vec![convert(address, Type::U64)], call.span))
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
