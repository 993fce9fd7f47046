//! Functions on maps: delete, has_key, find, len, clear, zero.

use super::Call;
use crate::diagnostic::Diagnostic;
use crate::hir::tree::{Expr, ExprKind, Intrinsic};
use crate::hir::types::Type;
use crate::sema::checker::{Checker, Typed};
use crate::sema::types;
use crate::span::Span;
use crate::syntax::ast;
use btc_payload::event::Action;
use btc_payload::manifest::MapId;

/// Refuses a map whose type nothing tells, once for all of its uses.
pub(in crate::sema) fn never_assigned<T>(c: &mut Checker, name: &str, span: Span) -> Option<T> {
    if c.unknown.insert(name.to_string()) {
        let message = format!("map `{name}` is never assigned");
        let d = Diagnostic::error("E0221", message).at(span, "nothing is stored in it anywhere");
        // Looking for one costs time, and only messages of the last walk are shown.
        c.report(match c.settled.then(|| c.similar_map(name)).flatten() {
            Some(close) => d.help(format!("did you mean `{close}`?")),
            None => d,
        });
    }
    None
}

/// A map named as a whole.
pub(super) fn map_argument(c: &mut Checker, e: &ast::Expr, function: &str) -> Option<MapId> {
    match &e.kind {
        ast::ExprKind::Map(name) => Some(c.map(name, e.span)),
        _ => c.error("E0410", e.span, format!("`{function}` takes a map"), "not a map"),
    }
}

/// A map that something is stored into, somewhere.
pub(super) fn known_map(c: &mut Checker, e: &ast::Expr, function: &str) -> Option<MapId> {
    let map = map_argument(c, e, function)?;
    if c.map_info(map).value.is_none() {
        let name = c.map_info(map).name.clone();
        return never_assigned(c, &name, e.span);
    }
    Some(map)
}

pub(super) fn clear(c: &mut Checker, call: &Call) -> Typed {
    let map = known_map(c, call.arg(0)?, "clear")?;
    Some(c.emit(Action::Clear(map), Vec::new(), call.span))
}

pub(super) fn zero(c: &mut Checker, call: &Call) -> Typed {
    let map = known_map(c, call.arg(0)?, "zero")?;
    Some(c.emit(Action::Zero(map), Vec::new(), call.span))
}

/// `delete(@m, key)`, `delete(@m[key])`, `delete(@scalar)`, and the 0.21 form
/// with several entries.
pub(super) fn delete(c: &mut Checker, call: &Call) -> Typed {
    let first = call.arg(0)?;
    if let ast::ExprKind::Map(name) = &first.kind {
        let several = call.args.len() > 1 && call.args.iter().all(is_entry);
        let id = c.map(name, first.span);
        // `delete(@m, @k)`: a key if the first map has keys, else a second map.
        let keyed = call.args.len() == 2 && c.map_info(id).key.as_ref().is_some_and(|k| *k != Type::Tuple(Vec::new()));
        if several && call.args.len() == 2 && c.map_info(id).key.is_none() {
            return never_assigned(c, name, first.span);
        }
        if !several || keyed {
            let map = c.map(name, first.span);
            known_map(c, first, "delete")?;
            let key = match &call.args[1..] {
                [] => whole(c, map, call.span)?,
                [key] => {
                    let key = c.value(key)?;
                    c.fit_key(map, key)?
                }
                _ => return c.error("E0401", call.span, "`delete` takes one key", "write several keys as `(a, b)`"),
            };
            return Some(delete_expr(map, key, call.span));
        }
    }
    let mut out: Typed = None;
    for e in call.args {
        let one = delete_entry(c, e)?;
        out = Some(match out {
            None => one,
            Some(before) => Expr {
                kind: ExprKind::Block {
                    body: crate::hir::tree::Block { statements: vec![crate::sema::expr::statement(before)] },
                    value: Box::new(one),
                },
                ty: Type::Bool,
                span: call.span,
            },
        });
    }
    out
}

fn is_entry(e: &ast::Expr) -> bool {
    match &e.kind {
        ast::ExprKind::Map(_) => true,
        ast::ExprKind::Index { base, .. } => matches!(base.kind, ast::ExprKind::Map(_)),
        _ => false,
    }
}

fn delete_entry(c: &mut Checker, e: &ast::Expr) -> Typed {
    match &e.kind {
        ast::ExprKind::Map(name) => {
            let map = c.map(name, e.span);
            let key = whole(c, map, e.span)?;
            Some(delete_expr(map, key, e.span))
        }
        ast::ExprKind::Index { base, indices } => {
            let map = known_map(c, base, "delete")?;
            let key = c.map_key(map, indices, e.span)?;
            Some(delete_expr(map, key, e.span))
        }
        _ => c.error("E0410", e.span, "`delete` takes map entries", "not a map entry"),
    }
}

fn delete_expr(map: MapId, key: Expr, span: Span) -> Expr {
    Expr { kind: ExprKind::MapDelete { map, key: Box::new(key) }, ty: Type::Bool, span }
}

/// The key of a scalar map; a keyed one wants a key.
fn whole(c: &mut Checker, map: MapId, span: Span) -> Typed {
    let info = c.map_info(map);
    if info.key.as_ref().is_some_and(|k| *k != Type::Tuple(Vec::new())) {
        let message = format!("`delete` of `{}` needs a key", info.name);
        return c.error("E0411", span, message, "to remove all entries use clear()");
    }
    c.scalar_key(map, span)
}

pub(super) fn has_key(c: &mut Checker, call: &Call) -> Typed {
    let (map, key) = map_and_key(c, call)?;
    Some(Expr { kind: ExprKind::MapHasKey { map, key: Box::new(key) }, ty: Type::Bool, span: call.span })
}

fn map_and_key(c: &mut Checker, call: &Call) -> Option<(MapId, Expr)> {
    let map = map_argument(c, call.arg(0)?, call.name)?;
    if c.map_info(map).key == Some(Type::Tuple(Vec::new())) {
        let message = format!("`{}` needs a map with keys", call.name);
        return c.error("E0412", call.span, message, "a scalar map");
    }
    let key = c.value(call.arg(1)?)?;
    let key = c.fit_key(map, key)?;
    Some((map, key))
}

/// `find(@m, key, $v)`: stores the value into the variable when there is one.
pub(super) fn find(c: &mut Checker, call: &Call) -> Typed {
    let (map, key) = map_and_key(c, call)?;
    let target = call.arg(2)?;
    let ast::ExprKind::Variable(name) = &target.kind else {
        return c.error("E0413", target.span, "`find` stores into a variable", "not a variable");
    };
    let value = c.map_value(map, crate::sema::checker::unit(call.span), call.span)?.ty;
    let into = match c.find_local(name) {
        Some(id) => id,
        None => c.declare_local(name, None, target.span)?,
    };
    // As in C, a declared integer keeps its type and cuts what is stored.
    let cut = c.declared_type(into) && value.is_integral() && c.local_type(into).is_some_and(|t| t.is_integral());
    let holds = match c.declared_type(into) && !cut {
        true => c.local_type(into).is_some_and(|t| types::join(&t, &value).as_ref() == Some(&t)),
        false => cut || c.widen_local(into, &value, false),
    };
    if !holds {
        let message = format!("`{name}` cannot hold `{}`", c.spell(&value));
        return c.error("E0203", target.span, message, "another type");
    }
    Some(Expr { kind: ExprKind::MapFind { map, key: Box::new(key), into }, ty: Type::Bool, span: call.span })
}

/// `len(@m)`, `len(stack)`.
pub(super) fn len(c: &mut Checker, call: &Call) -> Typed {
    let arg = call.arg(0)?;
    if let ast::ExprKind::Map(_) = &arg.kind {
        let map = known_map(c, arg, "len")?;
        if c.map_info(map).key == Some(Type::Tuple(Vec::new())) {
            return c.error("E0412", call.span, "`len` needs a map with keys", "a scalar map");
        }
        return Some(Expr { kind: ExprKind::MapLen { map }, ty: Type::I64, span: call.span });
    }
    let value = c.value(arg)?;
    match &value.ty {
        Type::Stack { .. } => Some(Expr {
            kind: ExprKind::Intrinsic { which: Intrinsic::StackLen, args: vec![value] },
            ty: Type::I64,
            span: call.span,
        }),
        Type::Str { .. } => super::strings::strlen(c, call),
        Type::Array { len, .. } => Some(crate::sema::checker::constant(u64::from(*len), Type::I64, call.span)),
        other => {
            let message = format!("`{}` has no length", c.spell(other));
            c.error("E0414", arg.span, message, "maps and stacks have one")
        }
    }
}
