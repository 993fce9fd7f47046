//! Calls of functions of imported C files.
//!
//! In: a call of the syntax tree, the function's C type. Out: a typed expression.
//! Numbers are converted as in an assignment; a pointer must point to what the
//! function expects, where both say to what; texts, arrays and the like are passed
//! by their address.

use super::Call;
use crate::cobject::CFunction;
use crate::ctypes::CKind;
use crate::diagnostic::Diagnostic;
use crate::hir::tree::{Expr, ExprKind, Intrinsic};
use crate::hir::types::{Space, Type};
use crate::sema::checker::{Checker, Typed, literal};
use crate::sema::convert::convert;
use crate::sema::types;

/// Most arguments that a BPF function takes.
const REGISTERS: usize = 5;

/// A call of an imported function.
pub(super) fn call(c: &mut Checker, call: &Call, function: &CFunction) -> Typed {
    let signature = &function.signature;
    if let Some(why) = impossible(c, function) {
        let message = format!("`{}` of {} cannot be called", call.name, function.file);
        return c.error("E0480", call.span, message, &why);
    }
    let usage = usage(c, call.name, function);
    if call.args.len() != signature.params.len() {
        let (given, wanted) = (call.args.len(), signature.params.len());
        let message = format!("`{}` is called with {given} argument{}", call.name, plural(given));
        c.report(
            Diagnostic::error("E0401", message)
                .at(call.span, format!("it takes {wanted}"))
                .help(format!("usage: {usage}, in {}", function.file)),
        );
        return None;
    }
    let mut args = Vec::new();
    for (given, (name, ty)) in call.args.iter().zip(&signature.params) {
        let what = match name {
            Some(name) => format!("the argument `{name}` of `{}`", call.name),
            None => format!("an argument of `{}`", call.name),
        };
        let want = types::from_ctype(c.types(), *ty, Space::Kernel);
        let value = c.raw(given)?;
        args.push(argument(c, value, want, &what, &usage)?);
    }
    let ty = types::from_ctype(c.types(), signature.ret, Space::Kernel);
    let which = Intrinsic::Imported { name: call.name.to_string(), stack: function.stack, fetches: function.fetches };
    Some(Expr { kind: ExprKind::Intrinsic { which, args }, ty, span: call.span })
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// Why a function cannot be called from a script, if so.
fn impossible(c: &Checker, function: &CFunction) -> Option<String> {
    let signature = &function.signature;
    if signature.variadic || signature.params.len() > REGISTERS {
        return Some("BPF passes at most five arguments, and no variable number of them".into());
    }
    let store = c.types();
    let is_void = |id| matches!(store.resolved(id).kind, CKind::Void);
    let fits = |id| types::from_ctype(store, id, Space::Kernel).is_scalar();
    if !is_void(signature.ret) && !fits(signature.ret) {
        return Some(format!("it returns `{}`, neither a number nor a pointer", store.name_of(signature.ret)));
    }
    let (name, ty) = signature.params.iter().find(|(_, ty)| !fits(*ty))?;
    let name = name.as_deref().map(|n| format!(" {n}")).unwrap_or_default();
    Some(format!("it takes `{}{name}`, neither a number nor a pointer", store.name_of(*ty)))
}

/// How the function is called, for messages.
fn usage(c: &Checker, name: &str, function: &CFunction) -> String {
    let params = function.signature.params.iter().map(|(name, ty)| match name {
        Some(name) => format!("{} {name}", c.types().name_of(*ty)),
        None => c.types().name_of(*ty),
    });
    let params: Vec<String> = params.collect();
    format!("{name}({})", params.join(", "))
}

/// An argument as the function wants it.
fn argument(c: &mut Checker, value: Expr, want: Type, what: &str, usage: &str) -> Typed {
    let span = value.span;
    match (&want, &value.ty) {
        (Type::Int { .. }, Type::Int { .. } | Type::Enum { .. }) => c.coerce(value, &want, what),
        (Type::Enum { size, signed, .. }, Type::Int { .. } | Type::Enum { .. }) => {
            let number = Type::Int { size: *size, signed: *signed };
            let value = c.coerce(value, &number, what)?;
            Some(convert(value, want))
        }
        (Type::Bool, Type::Bool) => Some(value),
        (Type::Pointer { .. }, _) => pointer(c, value, &want, what, usage),
        _ => {
            let (have, wanted) = (c.spell(&value.ty), c.spell(&want));
            let message = format!("{what} has type `{wanted}`, but this is `{have}`");
            c.report(Diagnostic::error("E0211", message).at(span, format!("`{have}`")).help(format!("usage: {usage}")));
            None
        }
    }
}

/// An address: a pointer of the right type, or that of something in memory.
fn pointer(c: &mut Checker, value: Expr, want: &Type, what: &str, usage: &str) -> Typed {
    let Type::Pointer { to, .. } = want else { return None };
    let bytes = matches!(**to, Type::Void | Type::Int { size: 1, .. } | Type::Bool);
    let fits = match &value.ty {
        Type::Pointer { to: have, .. } => **to == Type::Void || **have == Type::Void || alike(c, have, to),
        // A null pointer.
        Type::Int { .. } => literal(&value) == Some(0),
        Type::Struct { .. } => **to == Type::Void || **to == value.ty,
        Type::Str { .. } | Type::CharArray { .. } | Type::Buf { .. } => bytes,
        Type::Array { elem, .. } => bytes || alike(c, elem, to),
        Type::Tuple(_) | Type::Record(_) => **to == Type::Void,
        _ => false,
    };
    if !fits {
        let (have, wanted) = (c.spell(&value.ty), c.spell(want));
        let message = format!("{what} has type `{wanted}`, but this is `{have}`");
        let mut d = Diagnostic::error("E0211", message).at(value.span, format!("`{have}`"));
        d = match &value.ty {
            Type::Pointer { .. } | Type::Int { .. } => d.help(format!("a cast makes it one: `({wanted})...`")),
            _ => d.help(format!("usage: {usage}")),
        };
        c.report(d);
        return None;
    }
    match &value.ty {
        Type::Pointer { .. } => Some(value),
        Type::Int { .. } => Some(convert(value, want.clone())),
        Type::Array { .. } | Type::CharArray { .. } | Type::Struct { .. } if value.space() != Space::Bpf => {
            c.pointer_to_memory(value, what)
        }
        // The program's own: lowering passes the address of what is no scalar.
        _ => Some(c.decay(value)),
    }
}

/// Are these the same to look at? Structs go by their names, for a C file may have a
/// definition of its own of the kernel's.
fn alike(c: &Checker, a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Int { size: x, .. }, Type::Int { size: y, .. }) => x == y,
        (Type::Struct { ctype: x }, Type::Struct { ctype: y }) => {
            x == y || c.types().name_of(*x) == c.types().name_of(*y)
        }
        (Type::Pointer { to: x, .. }, Type::Pointer { to: y, .. }) => {
            **x == Type::Void || **y == Type::Void || alike(c, x, y)
        }
        _ => a == b,
    }
}
