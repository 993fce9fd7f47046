//! Statements.
//!
//! Invariant: memory that a statement takes is free again after it.

use super::function::{Fun, Home};
use super::loops::uses_in_expr;
use super::memory::Fill;
use super::{R, internal};
use crate::hir::tree::{Block, Expr, ExprKind, LocalId, Stmt, StmtKind};

impl Fun<'_, '_, '_> {
    /// Translates a block.
    pub(super) fn block(&mut self, block: &Block) -> R<()> {
        for s in &block.statements {
            // Nothing can run here: code behind `return`, `break` or `exit()`.
            if self.b.is_unreachable() {
                break;
            }
            self.stmt(s)?;
        }
        Ok(())
    }

    fn stmt(&mut self, s: &Stmt) -> R<()> {
        let outer = self.span;
        self.locate(s.span);
        let mark = self.mark();
        let done = self.stmt_kind(s);
        self.release(mark);
        self.locate(outer);
        done
    }

    fn stmt_kind(&mut self, s: &Stmt) -> R<()> {
        match &s.kind {
            StmtKind::Expr(e) => self.effect(e),
            StmtKind::Assign { local, value } => self.assign(*local, value),
            StmtKind::Zero(local) => self.zero_local(*local, s),
            StmtKind::MapAssign { map, key, value } => self.map_assign(*map, key, value),
            StmtKind::MapUpdate { map, key, op, value } => self.map_update(*map, key, *op, value),
            StmtKind::Aggregate { map, key, aggregate, value } => self.aggregate(*map, key, aggregate, value.as_ref()),
            StmtKind::If { condition, then, otherwise } => self.if_else(condition, then, otherwise),
            StmtKind::While { condition, body } => self.while_loop(condition, body),
            StmtKind::Unroll { count, body } => self.unrolled(*count, body),
            StmtKind::Repeat { count, limit, body } => self.repeat(count, *limit, body),
            StmtKind::ForRange { variable, start, end, body } => self.for_range(*variable, start, end, body, s.span),
            StmtKind::ForMap { variable, map, body } => self.for_map(*variable, *map, body, s.span),
            StmtKind::Break => self.break_loop(s.span),
            StmtKind::Continue => self.continue_loop(s.span),
            StmtKind::Return(value) => {
                let value = match value {
                    Some(e) => self.scalar(e)?,
                    None => self.b.iconst(0),
                };
                self.leave(value);
                Ok(())
            }
            StmtKind::Block(body) => self.block(body),
        }
    }

    fn assign(&mut self, local: LocalId, value: &Expr) -> R<()> {
        if value.ty.is_scalar() {
            let v = self.scalar(value)?;
            return self.set_local(local, &value.ty, v, value.span);
        }
        let to = self.local_memory(local, value.span)?;
        if !reads_while_written(value, local) {
            return self.into(value, to, Fill::Loose);
        }
        // `$v = ($v.1, $v.0)`: all parts are read before the first one changes.
        let size = self.size_of(&value.ty);
        let whole = self.temp("new value", size);
        self.into(value, whole, Fill::Exact)?;
        self.copy(to, whole, size);
        Ok(())
    }

    fn zero_local(&mut self, local: LocalId, s: &Stmt) -> R<()> {
        let Some(variable) = self.probe.locals.get(local.0 as usize) else {
            return internal("unknown variable", s.span);
        };
        match self.locals.get(&local) {
            Some(&Home::Register(var)) => {
                let zero = self.b.iconst(0);
                self.b.set(var, zero);
            }
            Some(&Home::Memory(place)) => {
                let size = self.size_of(&variable.ty);
                self.zero(place, size);
            }
            None => return internal("unknown variable", s.span),
        }
        Ok(())
    }

    fn if_else(&mut self, condition: &Expr, then: &Block, otherwise: &Block) -> R<()> {
        let (yes, no, end) = self.fork(condition)?;
        for (block, body) in [(yes, then), (no, otherwise)] {
            self.b.switch_to(block);
            self.block(body)?;
            self.b.jump(end);
        }
        self.b.seal(end);
        self.b.switch_to(end);
        Ok(())
    }
}

/// Whether a value that is written into a variable piece by piece reads the variable
/// in between. All of it at once may come from there.
fn reads_while_written(value: &Expr, local: LocalId) -> bool {
    match &value.kind {
        ExprKind::Local(_) => false,
        ExprKind::Ternary { then, otherwise, .. } => {
            reads_while_written(then, local) || reads_while_written(otherwise, local)
        }
        _ => uses_in_expr(value).contains_key(&local),
    }
}
