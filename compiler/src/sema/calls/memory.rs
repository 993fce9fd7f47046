//! Functions that read memory, and those on addresses.

use super::{Call, constant_string, integer};
use crate::hir::tree::{Expr, ExprKind, Intrinsic};
use crate::hir::types::{Space, Type};
use crate::sema::checker::{Checker, Typed, constant, literal};
use crate::sema::convert::convert;
use crate::sema::expr::text;
use crate::syntax::ast;
use std::net::IpAddr;

fn call_of(which: Intrinsic, args: Vec<Expr>, ty: Type, call: &Call) -> Typed {
    Some(Expr { kind: ExprKind::Intrinsic { which, args }, ty, span: call.span })
}

/// `str(pointer)`, `str(pointer, length)`, `str($1)`, `str($1 + n)`.
pub(super) fn str(c: &mut Checker, call: &Call) -> Typed {
    let first = call.arg(0)?;
    let max = c.env.limits.max_strlen;
    if let Some((n, skip)) = positional(first) {
        let mut text = c.positional_text(n, first.span);
        if let Some(skip) = skip {
            let skip = integer(c, skip, false, "the offset")?;
            text = call_of(Intrinsic::StrSkip, vec![text, skip], Type::Str { size: max + 1 }, call)?;
        }
        let Some(length) = call.arg(1) else { return Some(text) };
        let length = integer(c, length, false, "the length of `str`")?;
        return cut(text, length, call);
    }
    let value = c.raw(first)?;
    if let Some(l) = call.arg(1) {
        not_negative(c, l)?;
    }
    // A number is what `$1` may be while compiling: its text, not what lies at that address.
    if let (Some(number), ast::ExprKind::Integer { .. }) = (literal(&value), &first.kind) {
        let text = text(number.to_string().as_bytes(), first.span);
        let Some(length) = call.arg(1) else { return Some(text) };
        let length = integer(c, length, false, "the length of `str`")?;
        return cut(text, length, call);
    }
    // A text stays one, so that str() around args.name of any kind works.
    let length = match call.arg(1) {
        Some(l) => Some(integer(c, l, false, "the length of `str`")?),
        None => None,
    };
    if matches!(value.ty, Type::Str { .. } | Type::CharArray { .. }) {
        // What memory holds is cut to the longest text, like what a pointer points to.
        let long = matches!(value.ty, Type::CharArray { len } if len > max);
        let text = c.decay(value);
        let Some(length) = length else {
            return match long {
                true => call_of(Intrinsic::ReadStr, vec![text], Type::Str { size: max + 1 }, call),
                false => Some(text),
            };
        };
        return match text.kind {
            ExprKind::Str(_) => cut(text, length, call),
            _ => shortened(text, length, call),
        };
    }
    let pointer = c.pointer_to_memory(value, "the argument of `str`")?;
    // The length counts the NUL; a constant one also bounds the type.
    let size = match length.as_ref().and_then(literal) {
        Some(n) => u32::try_from(n).unwrap_or(max).clamp(1, max + 1),
        None => max + 1,
    };
    let mut args = vec![pointer];
    args.extend(length);
    call_of(Intrinsic::ReadStr, args, Type::Str { size }, call)
}

/// A text read as memory is: the length counts the NUL.
fn shortened(text: Expr, length: Expr, call: &Call) -> Typed {
    let Type::Str { size } = text.ty else { return None };
    let size = match literal(&length) {
        Some(n) if n >= i128::from(size) => return Some(text),
        Some(n) => u32::try_from(n).unwrap_or(size).clamp(1, size),
        None => size,
    };
    call_of(Intrinsic::ReadStr, vec![text, length], Type::Str { size }, call)
}

/// The first bytes of a text. A constant length counts the characters, as it
/// does for parameters; one that is known later the NUL as well, as for memory.
fn cut(text: Expr, length: Expr, call: &Call) -> Typed {
    let Type::Str { size } = text.ty else { return Some(text) };
    match literal(&length) {
        Some(n) if n >= i128::from(size) - 1 => Some(text),
        // With a length nothing counts as cut off.
        Some(n) => {
            let size = u32::try_from(n).unwrap_or(0) + 1;
            let length = constant(size.into(), Type::U64, length.span);
            call_of(Intrinsic::ReadStr, vec![text, length], Type::Str { size }, call)
        }
        None => call_of(Intrinsic::ReadStr, vec![text, length], Type::Str { size }, call),
    }
}

/// Refuses a literal length below zero.
fn not_negative(c: &mut Checker, length: &ast::Expr) -> Option<()> {
    let value = c.without_effects(|c| c.value(length))?;
    match literal(&value) {
        Some(n) if n < 0 => c.error("E0441", length.span, "the length cannot be negative", ""),
        _ => Some(()),
    }
}

/// `$n` or `$n + offset`.
fn positional(e: &crate::syntax::ast::Expr) -> Option<(u32, Option<&crate::syntax::ast::Expr>)> {
    use crate::syntax::ast::{BinaryOp, ExprKind as K};
    match &e.kind {
        K::Positional(n) => Some((*n, None)),
        K::Binary { op: BinaryOp::Add, left, right } => match left.kind {
            K::Positional(n) => Some((n, Some(right))),
            _ => None,
        },
        _ => None,
    }
}

/// `buf(pointer, length)`, `buf(array)`.
pub(super) fn buf(c: &mut Checker, call: &Call) -> Typed {
    let value = c.raw(call.arg(0)?)?;
    let max = c.env.limits.max_strlen;
    let Some(length) = call.arg(1) else {
        let size = match &value.ty {
            Type::Array { .. } | Type::CharArray { .. } => crate::sema::types::size_of(c.types(), &value.ty) as u32,
            other => {
                let message = format!("the length is missing: `{}` does not tell it", c.spell(other));
                return c.error("E0430", call.span, message, "only arrays do");
            }
        };
        return call_of(Intrinsic::BufOfArray, vec![value], Type::Buf { size: size.min(max) }, call);
    };
    not_negative(c, length)?;
    let length = integer(c, length, false, "the length of `buf`")?;
    let size = match literal(&length) {
        Some(n) if n > i128::from(max) => max,
        Some(n) if n >= 1 => n as u32,
        Some(_) => return c.error("E0431", length.span, "the length of `buf` must be above zero", ""),
        None => max,
    };
    // A value of our own is copied; what it points to is read.
    let held = match value.ty {
        Type::Str { size } => Some(size),
        Type::Array { .. } | Type::CharArray { .. } if value.space() == Space::Bpf => {
            Some(crate::sema::types::size_of(c.types(), &value.ty) as u32)
        }
        _ => None,
    };
    if let Some(held) = held {
        return call_of(Intrinsic::BufOfArray, vec![value, length], Type::Buf { size: size.min(held) }, call);
    }
    let pointer = c.pointer_to_memory(value, "the argument of `buf`")?;
    call_of(Intrinsic::ReadBuf, vec![pointer, length], Type::Buf { size }, call)
}

pub(super) fn kptr(c: &mut Checker, call: &Call) -> Typed {
    in_space(c, call, Space::Kernel)
}

pub(super) fn uptr(c: &mut Checker, call: &Call) -> Typed {
    in_space(c, call, Space::User)
}

fn in_space(c: &mut Checker, call: &Call, space: Space) -> Typed {
    let value = c.raw(call.arg(0)?)?;
    let pointer = c.pointer_to_memory(value, &format!("the argument of `{}`", call.name))?;
    let Type::Pointer { to, .. } = pointer.ty.clone() else { return None };
    Some(convert(pointer, Type::Pointer { to, space }))
}

/// `macaddr(pointer to or array of 6 bytes)`.
pub(super) fn macaddr(c: &mut Checker, call: &Call) -> Typed {
    let value = c.raw(call.arg(0)?)?;
    let size = crate::sema::types::size_of(c.types(), &value.ty);
    if matches!(value.ty, Type::Array { .. } | Type::CharArray { .. }) {
        if size != 6 {
            return c.error("E0432", call.span, format!("a MAC address has 6 bytes, this has {size}"), "");
        }
        return call_of(Intrinsic::Mac, vec![value], Type::Mac, call);
    }
    let pointer = c.pointer_to_memory(value, "the argument of `macaddr`")?;
    call_of(Intrinsic::Mac, vec![pointer], Type::Mac, call)
}

/// `ntop(address)`, `ntop(family, address)`.
pub(super) fn ntop(c: &mut Checker, call: &Call) -> Typed {
    let (family, address) = match call.args {
        [family, address] => (integer(c, family, true, "the address family")?, address),
        [address] => (constant(0, Type::I64, call.span), address),
        _ => return None,
    };
    let value = c.raw(address)?;
    let value = match &value.ty {
        Type::Int { .. } => {
            let value = c.integer(value, false, "the address")?;
            convert(value, Type::U32)
        }
        Type::Array { .. } | Type::CharArray { .. } | Type::Struct { .. } => {
            let size = crate::sema::types::size_of(c.types(), &value.ty);
            if size != 4 && size != 16 {
                return c.error("E0433", address.span, format!("an address has 4 or 16 bytes, this has {size}"), "");
            }
            value
        }
        other => {
            let message = format!("`{}` is no address", c.spell(other));
            return c.error("E0433", address.span, message, "an integer or an array of 4 or 16 bytes is expected");
        }
    };
    call_of(Intrinsic::Inet, vec![family, value], Type::Inet, call)
}

/// `pton("address")`: an array of 4 or 16 bytes.
pub(super) fn pton(c: &mut Checker, call: &Call) -> Typed {
    let first = call.arg(0)?;
    let text = constant_string(c, first, "the address")?;
    let bytes: Vec<u8> = match text.parse() {
        Ok(IpAddr::V4(a)) => a.octets().to_vec(),
        Ok(IpAddr::V6(a)) => a.octets().to_vec(),
        Err(_) => return c.error("E0434", first.span, format!("`{text}` is no IP address"), ""),
    };
    let ty = Type::Array { elem: Box::new(Type::Int { size: 1, signed: false }), len: bytes.len() as u32 };
    Some(Expr { kind: ExprKind::Bytes(bytes), ty, span: call.span })
}

pub(super) fn socket_cookie(c: &mut Checker, call: &Call) -> Typed {
    let value = c.raw(call.arg(0)?)?;
    if !matches!(value.ty, Type::Pointer { .. }) {
        let message = format!("`socket_cookie` takes a pointer to a socket, but this is `{}`", c.spell(&value.ty));
        return c.error("E0437", call.span, message, "");
    }
    let pointer = c.address(value, "the argument of `socket_cookie`")?;
    call_of(Intrinsic::SocketCookie, vec![pointer], Type::U64, call)
}

/// `write_user(pointer, value, length)`.
pub(super) fn write_user(c: &mut Checker, call: &Call) -> Typed {
    let target = c.value(call.arg(0)?)?;
    let target = c.address(target, "the target of `write_user`")?;
    let source = c.value(call.arg(1)?)?;
    let source = c.stored(source);
    let length = match call.arg(2) {
        Some(l) => integer(c, l, false, "the length")?,
        None => constant(crate::sema::types::size_of(c.types(), &source.ty), Type::U64, call.span),
    };
    call_of(Intrinsic::WriteUser, vec![target, source, length], Type::I64, call)
}
