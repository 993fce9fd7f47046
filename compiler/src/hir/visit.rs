//! Walks over the typed tree.
//!
//! In: a block or an expression. Out: a call for every expression and statement
//! in it, outer before inner, in the order of the source.

use crate::hir::tree::{Block, Expr, ExprKind, Place, Stmt, StmtKind};

/// Something that a walk meets.
#[derive(Clone, Copy)]
pub enum Node<'a> {
    /// A statement.
    Stmt(&'a Stmt),
    /// An expression.
    Expr(&'a Expr),
}

/// Visits all of a block.
pub fn walk_block<'a>(block: &'a Block, f: &mut dyn FnMut(Node<'a>)) {
    for s in &block.statements {
        walk_stmt(s, f);
    }
}

/// Visits a statement and all in it.
pub fn walk_stmt<'a>(stmt: &'a Stmt, f: &mut dyn FnMut(Node<'a>)) {
    f(Node::Stmt(stmt));
    match &stmt.kind {
        StmtKind::Expr(e) | StmtKind::Assign { value: e, .. } => walk_expr(e, f),
        StmtKind::MapAssign { key, value, .. } | StmtKind::MapUpdate { key, value, .. } => {
            walk_expr(key, f);
            walk_expr(value, f);
        }
        StmtKind::Aggregate { key, value, .. } => {
            walk_expr(key, f);
            value.iter().for_each(|e| walk_expr(e, f));
        }
        StmtKind::If { condition, then, otherwise } => {
            walk_expr(condition, f);
            walk_block(then, f);
            walk_block(otherwise, f);
        }
        StmtKind::While { condition: e, body } | StmtKind::Repeat { count: e, body, .. } => {
            walk_expr(e, f);
            walk_block(body, f);
        }
        StmtKind::ForRange { start, end, body, .. } => {
            walk_expr(start, f);
            walk_expr(end, f);
            walk_block(body, f);
        }
        StmtKind::Unroll { body, .. } | StmtKind::ForMap { body, .. } | StmtKind::Block(body) => walk_block(body, f),
        StmtKind::Return(e) => e.iter().for_each(|e| walk_expr(e, f)),
        StmtKind::Zero(_) | StmtKind::Break | StmtKind::Continue => {}
    }
}

/// Visits an expression and all in it.
pub fn walk_expr<'a>(e: &'a Expr, f: &mut dyn FnMut(Node<'a>)) {
    f(Node::Expr(e));
    if let ExprKind::Block { body, value } = &e.kind {
        walk_block(body, f);
        walk_expr(value, f);
        return;
    }
    for child in children(e) {
        walk_expr(child, f);
    }
}

/// The expressions directly below one, statements of a block expression left out.
pub fn children(e: &Expr) -> Vec<&Expr> {
    use ExprKind::*;
    match &e.kind {
        AddressOfMap { key: x, .. }
        | MapRead { key: x, .. }
        | MapDelete { key: x, .. }
        | MapHasKey { key: x, .. }
        | MapFind { key: x, .. }
        | Negate(x)
        | Complement(x)
        | Not(x)
        | Convert(x)
        | Dereference(x)
        | Field { base: x, .. }
        | TupleElement { base: x, .. }
        | Block { value: x, .. } => vec![x],
        Increment { place: Place::Map { key, .. }, .. } => vec![key],
        Binary { left: a, right: b, .. }
        | PointerDifference { left: a, right: b }
        | PointerOffset { pointer: a, count: b }
        | Element { base: a, index: b }
        | StrByte { base: a, index: b } => vec![a, b],
        Ternary { condition, then, otherwise } => vec![condition, then, otherwise],
        Tuple { elements: list, .. } | Intrinsic { args: list, .. } | Emit { args: list, .. } => list.iter().collect(),
        Increment { place: Place::Local(_), .. }
        | Const(_)
        | KernelEnumerator { .. }
        | KernelSizeof(_)
        | KernelOffsetof { .. }
        | Str(_)
        | Bytes(_)
        | Zero
        | Local(_)
        | AddressOfLocal(_)
        | Start(_)
        | TracepointField(_)
        | Argument { .. }
        | ReturnValue { .. }
        | Context
        | MapLen { .. } => Vec::new(),
    }
}
