//! Functions about types and the build: is_ptr and its kin, assertions, getopt.

use super::{Call, constant_string};
use crate::diagnostic::Diagnostic;
use crate::hir::tree::{self, Expr, ExprKind, StmtKind};
use crate::hir::types::Type;
use crate::sema::checker::{Checker, Typed, constant, literal};
use crate::sema::expr::statement;
use btc_payload::event::Action;
use btc_payload::manifest::{NamedOption, OptionValue};
use btc_payload::start::StartValue;

/// Longest text of an option.
const OPTION_TEXT: u32 = 256;

fn about_type(c: &mut Checker, call: &Call, holds: fn(&Expr) -> bool) -> Typed {
    let e = call.arg(0)?;
    let value = c.without_effects(|c| c.raw(e))?;
    Some(constant(u64::from(holds(&value)), Type::Bool, call.span))
}

pub(super) fn is_array(c: &mut Checker, call: &Call) -> Typed {
    about_type(c, call, |e| matches!(e.ty, Type::Array { .. }))
}

pub(super) fn is_integer(c: &mut Checker, call: &Call) -> Typed {
    about_type(c, call, |e| matches!(e.ty, Type::Int { .. }))
}

pub(super) fn is_unsigned_integer(c: &mut Checker, call: &Call) -> Typed {
    about_type(c, call, |e| matches!(e.ty, Type::Int { signed: false, .. }))
}

pub(super) fn is_ptr(c: &mut Checker, call: &Call) -> Typed {
    about_type(c, call, |e| matches!(e.ty, Type::Pointer { .. }))
}

pub(super) fn is_str(c: &mut Checker, call: &Call) -> Typed {
    about_type(c, call, |e| matches!(e.ty, Type::Str { .. } | Type::CharArray { .. }))
}

pub(super) fn is_literal(c: &mut Checker, call: &Call) -> Typed {
    about_type(c, call, Expr::is_constant)
}

/// `is_scalar(@map)`: has the map no keys?
pub(super) fn is_scalar(c: &mut Checker, call: &Call) -> Typed {
    let map = super::maps::map_argument(c, call.arg(0)?, "is_scalar")?;
    match c.map_info(map).key.clone() {
        Some(key) => Some(constant(u64::from(key == Type::Tuple(Vec::new())), Type::Bool, call.span)),
        None => {
            let name = c.map_info(map).name.clone();
            super::never_assigned(c, &name, call.span)
        }
    }
}

pub(super) fn assert_str(c: &mut Checker, call: &Call) -> Typed {
    let e = call.arg(0)?;
    let value = c.without_effects(|c| c.raw(e))?;
    if matches!(value.ty, Type::Str { .. } | Type::CharArray { .. }) {
        return Some(nothing(call));
    }
    let message = format!("a text is expected, but this is `{}`", c.spell(&value.ty));
    c.error("E0450", e.span, message, "")
}

fn nothing(call: &Call) -> Expr {
    Expr { kind: ExprKind::Zero, ty: Type::Void, span: call.span }
}

/// `static_assert(condition, message)`.
pub(super) fn static_assert(c: &mut Checker, call: &Call) -> Typed {
    let condition = call.arg(0)?;
    let message = match call.arg(1) {
        Some(m) => constant_string(c, m, "the message")?,
        None => "the assertion does not hold".to_string(),
    };
    let value = c.condition(condition)?;
    match value.kind {
        ExprKind::Const(0) => c.error("E0451", call.span, format!("assertion failed: {message}"), ""),
        ExprKind::Const(_) => Some(nothing(call)),
        _ => c.error("E0452", condition.span, "a static assertion must be known while compiling", "not a constant"),
    }
}

/// `fail(message)`: reached only where the branch that holds it is built.
pub(super) fn fail(c: &mut Checker, call: &Call) -> Typed {
    let message = match call.arg(0) {
        Some(m) => constant_string(c, m, "the message")?,
        None => "fail() is reached".to_string(),
    };
    c.error("E0453", call.span, message, "this branch is taken")
}

/// `assert(condition, message)`: ends the tracer with status 1.
pub(super) fn assert(c: &mut Checker, call: &Call) -> Typed {
    let value = c.condition(call.arg(0)?)?;
    let message = match call.arg(1) {
        Some(m) => format!("assert failed: {}", constant_string(c, m, "the message")?),
        None => "assert failed".to_string(),
    };
    let fail = c.emit(Action::AssertFailed { message }, Vec::new(), call.span);
    let then = tree::Block { statements: vec![] };
    let otherwise = tree::Block { statements: vec![statement(fail), Checker::return_statement(call.span)] };
    let check = tree::Stmt { kind: StmtKind::If { condition: value, then, otherwise }, span: call.span };
    let kind = ExprKind::Block { body: tree::Block { statements: vec![check] }, value: Box::new(nothing(call)) };
    Some(Expr { kind, ty: Type::Void, span: call.span })
}

/// `getopt(name, default, description)`.
pub(super) fn getopt(c: &mut Checker, call: &Call) -> Typed {
    let name = constant_string(c, call.arg(0)?, "the name of an option")?;
    if name.is_empty() || name.starts_with('-') || name.contains(|ch: char| ch.is_whitespace() || ch == '=') {
        return c.error("E0454", call.args[0].span, format!("`{name}` is no name for an option"), "");
    }
    let default = match call.arg(1) {
        None => OptionValue::Bool(false),
        Some(d) => {
            let value = c.value(d)?;
            match (&value.kind, &value.ty, literal(&value)) {
                (ExprKind::Const(v), Type::Bool, _) => OptionValue::Bool(*v != 0),
                (_, _, Some(v)) => OptionValue::Int(v as i64),
                (ExprKind::Str(s), _, _) => OptionValue::Text(String::from_utf8_lossy(s).into_owned()),
                _ => return c.error("E0404", d.span, "the default of an option must be a constant", "not a constant"),
            }
        }
    };
    let help = match call.arg(2) {
        Some(h) => constant_string(c, h, "the description")?,
        None => String::new(),
    };
    let (ty, value): (Type, fn(u32) -> StartValue) = match &default {
        OptionValue::Int(v) => (Type::Int { size: 8, signed: *v < 0 }, StartValue::OptionInt),
        OptionValue::Bool(_) => (Type::Bool, StartValue::OptionInt),
        OptionValue::Text(_) => (Type::Str { size: OPTION_TEXT }, StartValue::OptionText),
    };
    let option = NamedOption { name: name.clone(), default, help };
    let index = match c.program.options.iter().position(|o| o.name == name) {
        Some(i) if c.program.options[i].default != option.default => {
            c.report(
                Diagnostic::error("E0455", format!("option `{name}` has two defaults"))
                    .at(call.span, "another default than before"),
            );
            return None;
        }
        Some(i) if c.program.options[i].help != option.help => {
            c.report(
                Diagnostic::error("E0455", format!("option `{name}` has two descriptions"))
                    .at(call.span, "another description than before")
                    .help("a macro around `getopt` says it once"),
            );
            return None;
        }
        Some(i) => i,
        None => {
            c.program.options.push(option);
            c.program.options.len() - 1
        }
    };
    Some(c.start(value(index as u32), ty, call.span))
}

pub(super) fn misplaced_offsetof(c: &mut Checker, call: &Call) -> Typed {
    c.error("E0456", call.span, "offsetof takes a struct and a field", "offsetof(struct name, field)")
}
