//! Functions on texts and bytes.

use super::{Call, integer};
use crate::hir::tree::{Expr, ExprKind, Intrinsic};
use crate::hir::types::Type;
use crate::sema::checker::{Checker, Typed, constant, literal};
use crate::sema::convert::convert;
use crate::syntax::ast;

fn make(which: Intrinsic, args: Vec<Expr>, ty: Type, call: &Call) -> Expr {
    Expr { kind: ExprKind::Intrinsic { which, args }, ty, span: call.span }
}

/// A text; pointers to `char` are read.
fn text(c: &mut Checker, e: &ast::Expr, call: &Call) -> Typed {
    let value = match &e.kind {
        ast::ExprKind::Positional(n) => c.positional_text(*n, e.span),
        _ => {
            let value = c.value(e)?;
            c.named_text(value)
        }
    };
    match &value.ty {
        Type::Str { .. } => Some(value),
        Type::Pointer { to, .. } if matches!(**to, Type::Int { size: 1, .. }) => {
            let ty = Type::Str { size: c.env.limits.max_strlen + 1 };
            Some(Expr { kind: ExprKind::Intrinsic { which: Intrinsic::ReadStr, args: vec![value] }, ty, span: e.span })
        }
        other => {
            let message = format!("`{}` takes texts, but this is `{}`", call.name, c.spell(other));
            let label = match other {
                Type::ProbeName | Type::FunctionName => {
                    "with wildcards it is a name on the target only: compare with =="
                }
                _ => "str() reads the text a pointer points to",
            };
            c.error("E0440", e.span, message, label)
        }
    }
}

pub(super) fn strncmp(c: &mut Checker, call: &Call) -> Typed {
    let (a, b) = (text(c, call.arg(0)?, call), text(c, call.arg(1)?, call));
    let length = call.arg(2)?;
    let n = c.value(length)?;
    if literal(&n).is_some_and(|n| n < 0) {
        return c.error("E0441", length.span, "the length cannot be negative", "");
    }
    let n = c.integer(n, false, "the length")?;
    Some(make(Intrinsic::Strncmp, vec![a?, b?, n], Type::U64, call))
}

pub(super) fn strstr(c: &mut Checker, call: &Call) -> Typed {
    let (a, b) = (text(c, call.arg(0)?, call), text(c, call.arg(1)?, call));
    Some(make(Intrinsic::Strstr, vec![a?, b?], Type::I64, call))
}

pub(super) fn strlen(c: &mut Checker, call: &Call) -> Typed {
    let value = text(c, call.arg(0)?, call)?;
    if let ExprKind::Str(bytes) = &value.kind {
        return Some(constant(bytes.len() as u64, Type::U64, call.span));
    }
    Some(make(Intrinsic::Strlen, vec![value], Type::U64, call))
}

/// `strcap(text)`: bytes of text that fit.
pub(super) fn strcap(c: &mut Checker, call: &Call) -> Typed {
    let value = c.without_effects(|c| text(c, call.arg(0)?, call))?;
    let Type::Str { size } = value.ty else { return None };
    Some(constant(u64::from(size), Type::U64, call.span))
}

pub(super) fn str_concat(c: &mut Checker, call: &Call) -> Typed {
    let (a, b) = (text(c, call.arg(0)?, call), text(c, call.arg(1)?, call));
    let (a, b) = (a?, b?);
    let (Type::Str { size: s }, Type::Str { size: t }) = (&a.ty, &b.ty) else { return None };
    // Not without end where a variable is put together from itself.
    let longest = (c.env.limits.max_strlen + 1).max(*s).max(*t);
    let ty = Type::Str { size: (s + t - 1).min(longest) };
    Some(make(Intrinsic::StrConcat, vec![a, b], ty, call))
}

/// `memcmp(left, right, length)` on values or memory.
pub(super) fn memcmp(c: &mut Checker, call: &Call) -> Typed {
    let (a, b) = (c.raw(call.arg(0)?), c.raw(call.arg(1)?));
    let n = integer(c, call.arg(2)?, false, "the length")?;
    Some(make(Intrinsic::Memcmp, vec![a?, b?, n], Type::I64, call))
}

/// `bswap(n)`: of the value's own size.
pub(super) fn bswap(c: &mut Checker, call: &Call) -> Typed {
    let value = c.value(call.arg(0)?)?;
    let size = match &value.ty {
        Type::Int { size, .. } => *size,
        other => {
            let message = format!("`bswap` takes an integer, but this is `{}`", c.spell(other));
            return c.error("E0442", call.span, message, "");
        }
    };
    let ty = Type::Int { size, signed: false };
    Some(make(Intrinsic::ByteSwap, vec![convert(value, ty.clone())], ty, call))
}
