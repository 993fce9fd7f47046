//! Statements.
//!
//! In: statements of the expanded syntax tree. Out: typed statements. Assigning
//! to a variable or map is what teaches its type.

use super::checker::{Checker, literal};
use super::expr::statement;
use super::{calls, types};
use crate::diagnostic::Diagnostic;
use crate::hir::tree::{Block, Expr, ExprKind, Stmt, StmtKind};
use crate::hir::types::Type;
use crate::span::Span;
use crate::syntax::ast::{self, StatementKind};
use btc_payload::event::Action;
use btc_payload::start::StartValue;
use std::collections::BTreeSet;

/// Most copies that `unroll` makes.
const MAX_UNROLL: i128 = btc_payload::start::MAX_UNROLL as i128;

impl Checker<'_> {
    /// A block in a scope of its own; its last value is only an effect.
    pub(super) fn block(&mut self, block: &ast::Block) -> Block {
        self.push_scope();
        let mut out = self.statements(&block.statements);
        if let Some(v) = &block.value {
            self.warn_unreachable(&out.statements, v.span);
            out.statements.extend(self.expr(v).map(statement));
        }
        self.pop_scope();
        out
    }

    /// Statements in the scope at hand.
    pub(super) fn statements(&mut self, list: &[ast::Statement]) -> Block {
        let mut out = Vec::new();
        let mut ended = false;
        for s in list {
            ended = ended || self.warn_unreachable(&out, s.span);
            self.statement(s, &mut out);
        }
        Block { statements: out }
    }

    /// Warns of what follows the end of a probe or loop.
    fn warn_unreachable(&mut self, before: &[Stmt], span: Span) -> bool {
        let ended = before.last().is_some_and(|last| self.ends(last));
        if ended {
            self.warn("W0209", span, "this is never reached", "what stands before it ends the probe or the loop");
        }
        ended
    }

    /// Is what follows a statement in its block never run?
    fn ends(&self, s: &Stmt) -> bool {
        match &s.kind {
            StmtKind::Return(_) | StmtKind::Break | StmtKind::Continue => true,
            StmtKind::Block(b) => self.block_ends(b),
            StmtKind::If { then, otherwise, .. } => self.block_ends(then) && self.block_ends(otherwise),
            StmtKind::Expr(Expr { kind: ExprKind::Emit { event, .. }, .. }) => {
                self.program.events[event.0 as usize].action == Action::Exit
            }
            _ => false,
        }
    }

    fn block_ends(&self, b: &Block) -> bool {
        b.statements.last().is_some_and(|last| self.ends(last))
    }

    fn statement(&mut self, s: &ast::Statement, out: &mut Vec<Stmt>) {
        let span = s.span;
        let kind = match &s.kind {
            StatementKind::Expr(e) => self.expr(e).map(StmtKind::Expr),
            StatementKind::Assign { target, op, value } => self.assign(target, *op, value, span),
            StatementKind::Let { name, ty, value } => self.declare(name, ty.as_ref(), value.as_ref()),
            StatementKind::If { condition, then, otherwise, comptime } => {
                self.if_statement(condition, then, otherwise.as_ref(), *comptime)
            }
            StatementKind::While { condition, body } => {
                let condition = self.condition(condition);
                let body = self.loop_body(body);
                condition.map(|condition| StmtKind::While { condition, body })
            }
            StatementKind::Unroll { count, body } => self.unroll(count, body),
            StatementKind::ForRange { variable, start, end, body } => self.for_range(variable, start, end, body),
            StatementKind::ForEach { variable, iterable, body } => self.for_each(variable, iterable, body, span),
            StatementKind::Break => self.in_loop("break", span).map(|()| StmtKind::Break),
            StatementKind::Continue => self.in_loop("continue", span).map(|()| StmtKind::Continue),
            StatementKind::Return(value) => match value {
                None => Some(StmtKind::Return(None)),
                Some(v) => {
                    let e = self.value(v).and_then(|e| self.integer(e, true, "the value of `return`"));
                    e.map(|e| StmtKind::Return(Some(e)))
                }
            },
            StatementKind::Block(b) => Some(StmtKind::Block(self.block(b))),
        };
        let Some(kind) = kind else { return };
        // Nothing after exit() in the same block runs.
        let exits = matches!(&kind, StmtKind::Expr(e) if self.is_exit(e));
        out.push(Stmt { kind, span });
        if exits {
            out.push(Self::return_statement(span));
        }
    }

    fn is_exit(&self, e: &Expr) -> bool {
        match &e.kind {
            ExprKind::Emit { event, .. } => {
                self.program.events.get(event.0 as usize).is_some_and(|e| e.action == btc_payload::event::Action::Exit)
            }
            _ => false,
        }
    }

    fn in_loop(&mut self, word: &str, span: Span) -> Option<()> {
        if self.probe.as_ref().is_some_and(|p| p.loops > 0) {
            return Some(());
        }
        self.error("E0290", span, format!("`{word}` outside of a loop"), "")
    }

    fn loop_body(&mut self, body: &ast::Block) -> Block {
        if let Some(p) = &mut self.probe {
            p.loops += 1;
        }
        let out = self.block(body);
        if let Some(p) = &mut self.probe {
            p.loops -= 1;
        }
        out
    }

    /// The body of a `for`, which may become a function that the kernel calls.
    fn callback_body(&mut self, body: &ast::Block) -> Block {
        if let Some(p) = &mut self.probe {
            p.callbacks += 1;
        }
        let out = self.loop_body(body);
        if let Some(p) = &mut self.probe {
            p.callbacks -= 1;
        }
        out
    }

    /// An arm of an `if`, and the variables of its own that have a value at its end.
    fn arm(&mut self, block: &ast::Block) -> (Block, BTreeSet<String>) {
        self.push_scope();
        let mut out = self.statements(&block.statements);
        if let Some(e) = block.value.as_ref().and_then(|v| self.expr(v)) {
            out.statements.push(statement(e));
        }
        (out, self.pop_scope().map(|s| s.assigned()).unwrap_or_default())
    }

    fn if_statement(
        &mut self,
        condition: &ast::Expr,
        then: &ast::Block,
        otherwise: Option<&ast::Block>,
        comptime: bool,
    ) -> Option<StmtKind> {
        let c = self.condition(condition);
        if let Some(ExprKind::Const(v)) = c.as_ref().map(|c| &c.kind) {
            // Decided now: the other arm is neither typed nor built.
            let taken = if *v != 0 { Some(then) } else { otherwise };
            return Some(StmtKind::Block(taken.map(|b| self.block(b)).unwrap_or_default()));
        }
        if comptime && c.is_some() {
            return self.error(
                "E0259",
                condition.span,
                "this is not known while compiling",
                "comptime wants a constant",
            );
        }
        self.declare_lifted(condition.span);
        let (then, assigned) = self.arm(then);
        let (otherwise, too) = otherwise.map(|b| self.arm(b)).unwrap_or_default();
        if let Some(scope) = self.probe.as_mut().and_then(|p| p.scopes.last_mut()) {
            scope.in_arms.extend(assigned.intersection(&too).map(|name| (name.clone(), condition.span)));
        }
        c.map(|condition| StmtKind::If { condition, then, otherwise })
    }

    fn unroll(&mut self, count: &ast::Expr, body: &ast::Block) -> Option<StmtKind> {
        let n = self.value(count);
        let body = self.loop_body(body);
        let n = n?;
        match literal(&n) {
            Some(v) if (1..=MAX_UNROLL).contains(&v) => Some(StmtKind::Unroll { count: v as u32, body }),
            Some(v) => {
                let message = format!("unroll({v}) is out of range");
                self.error("E0291", count.span, message, &format!("1 to {MAX_UNROLL}"))
            }
            None if matches!(n.kind, ExprKind::Start(_)) => {
                let count = match count.kind {
                    ast::ExprKind::Positional(p) => self.start(StartValue::UnrollCount(p), Type::I64, count.span),
                    _ => n,
                };
                let count = self.integer(count, false, "the count")?;
                Some(StmtKind::Repeat { count, limit: MAX_UNROLL as u32, body })
            }
            None => self.error("E0292", count.span, "the count of unroll must be a constant or a parameter", ""),
        }
    }

    fn for_range(
        &mut self,
        variable: &ast::Name,
        start: &ast::Expr,
        end: &ast::Expr,
        body: &ast::Block,
    ) -> Option<StmtKind> {
        self.not_hidden(variable);
        let (s, e) = (self.value(start), self.value(end));
        // The variable holds every number of the range, no more.
        let ty = match (&s, &e) {
            (Some(s), Some(e)) => types::join(&s.ty, &e.ty).filter(|t| matches!(t, Type::Int { .. })),
            _ => None,
        };
        // Where both have one size, the start alone decides.
        let natural =
            matches!((&s, &e), (Some(s), Some(e)) if self.is_natural(s) && (self.is_natural(e) || s.ty == e.ty));
        let s = s.and_then(|e| self.integer(e, true, "the start of a range"));
        let e = e.and_then(|e| self.integer(e, true, "the end of a range"));
        self.push_scope();
        let local = self.declare_local(&variable.value, Some(ty.clone().unwrap_or(Type::I64)), variable.span);
        if let (Some(local), Some(ty), true) = (local, &ty, natural) {
            self.holds_naturals(local, ty);
        }
        let body = self.callback_body(body);
        self.pop_scope();
        Some(StmtKind::ForRange { variable: local?, start: s?, end: e?, body })
    }

    /// The variable of a loop must not hide another one.
    fn not_hidden(&mut self, variable: &ast::Name) {
        let Some(old) = self.find_local(&variable.value) else { return };
        let shown = variable.value.split('#').next().unwrap_or(&variable.value).to_string();
        let first = self.probe.as_ref().map(|p| p.locals[old.0 as usize].span);
        let mut d = Diagnostic::error("E0202", format!("variable `{shown}` is already declared"))
            .at(variable.span, "declared again by this loop");
        if let Some(first) = first {
            d = d.also(first, "first declared here");
        }
        self.report(d.help("the variable of a loop cannot hide one outside; choose another name"));
    }

    fn for_each(
        &mut self,
        variable: &ast::Name,
        iterable: &ast::Expr,
        body: &ast::Block,
        span: Span,
    ) -> Option<StmtKind> {
        let ast::ExprKind::Map(name) = &iterable.kind else {
            return self.error("E0293", iterable.span, "`for` goes over a map or a range", "neither a map nor a range");
        };
        self.not_hidden(variable);
        let map = self.map(name, iterable.span);
        let info = self.map_info(map).clone();
        if info.key == Some(Type::Tuple(Vec::new())) {
            return self.error("E0294", iterable.span, format!("`{name}` has no keys to go over"), "a scalar map");
        }
        let entry = match (&info.key, &info.value) {
            (Some(key), Some(Type::Aggregate(_))) => {
                let integer = self.map_value(map, super::checker::unit(span), iterable.span)?;
                Some(Type::Tuple(vec![key.clone(), integer.ty]))
            }
            (Some(key), Some(value)) => Some(Type::Tuple(vec![key.clone(), value.clone()])),
            // Reported when no round learns it.
            _ => calls::never_assigned(self, name, iterable.span),
        };
        self.push_scope();
        let local = self.declare_local(&variable.value, entry.clone(), variable.span);
        let body = self.callback_body(body);
        self.pop_scope();
        entry?;
        Some(StmtKind::ForMap { variable: local?, map, body })
    }

    /// `let $x [: type] [= value]`.
    fn declare(&mut self, name: &ast::Name, ty: Option<&ast::TypeExpr>, value: Option<&ast::Expr>) -> Option<StmtKind> {
        let shown = name.value.split('#').next().unwrap_or(&name.value).to_string();
        if let Some(old) = self.find_local(&name.value) {
            let first = self.probe.as_ref().map(|p| p.locals[old.0 as usize].span)?;
            self.report(
                Diagnostic::error("E0202", format!("variable `{shown}` is already declared"))
                    .at(name.span, "declared again")
                    .also(first, "first declared here")
                    .help("variables of an inner block cannot hide those of an outer one; choose another name"),
            );
            return None;
        }
        let fixed = match ty {
            Some(t) => Some(self.type_expr(t)?),
            None => None,
        };
        if let (Some(Type::Aggregate(_)), Some(t)) = (&fixed, ty) {
            return self.error(
                "E0205",
                t.span,
                "an aggregation cannot be the type of a variable",
                "aggregations live in maps",
            );
        }
        // The value is built before the variable exists: `let $x = $x` is an error.
        let value = value.map(|v| self.value(v));
        // `string` without a size says what is held, not how much: it grows.
        let grows = ty.is_some_and(|t| matches!(&t.kind, ast::TypeKind::Name(n) if n == "string"));
        let declared = if grows { None } else { fixed.clone() };
        let local = self.declare_local(&name.value, declared, name.span)?;
        if let Some(scope) = self.probe.as_mut().and_then(|p| p.scopes.last_mut()) {
            scope.declared.insert(name.value.clone());
        }
        if grows {
            self.widen_local(local, &Type::Str { size: 1 }, false);
        } else if fixed.is_some()
            && let Some(p) = &mut self.probe
        {
            p.fixed.push(local);
        }
        match value {
            None if fixed.is_some() => Some(StmtKind::Zero(local)),
            None => {
                // Its type comes from the first assignment.
                self.local_type(local).map(|_| StmtKind::Zero(local))
            }
            Some(value) => self.store_local(local, value?, fixed.is_some() && !grows, &shown),
        }
    }

    fn store_local(
        &mut self,
        local: crate::hir::tree::LocalId,
        value: Expr,
        fixed: bool,
        name: &str,
    ) -> Option<StmtKind> {
        let value_type = self.storage_type(&value);
        let natural = self.is_natural(&value);
        if !fixed {
            self.follow_address(local, &value);
        }
        if !fixed && !self.widen_local(local, &value_type, natural) {
            let old = self.local_type(local)?;
            let first = self.probe.as_ref().map(|p| p.locals[local.0 as usize].span)?;
            let message =
                format!("`{name}` holds `{}`, but `{}` is assigned", self.spell(&old), self.spell(&value_type));
            self.report(
                Diagnostic::error("E0203", message)
                    .at(value.span, "another type")
                    .also(first, "its type was decided here")
                    .help("a variable holds values of one type; use another variable, or a cast"),
            );
            return None;
        }
        let want = self.local_type(local)?;
        let value = if fixed { value } else { self.stored(value) };
        let value = self.coerce(value, &want, &format!("variable `{name}`"))?;
        Some(StmtKind::Assign { local, value })
    }

    fn assign(
        &mut self,
        target: &ast::Expr,
        op: Option<ast::BinaryOp>,
        value: &ast::Expr,
        span: Span,
    ) -> Option<StmtKind> {
        if let (None, ast::ExprKind::Block(block)) = (op, &value.kind)
            && let Some(last) = &block.value
            && calls::aggregate_name(last).is_some()
        {
            // `@x = { ...; count() }`: only the assignment itself can aggregate.
            let mut block = (**block).clone();
            let (target, value) = (target.clone(), *last.clone());
            let kind = StatementKind::Assign { target, op: None, value };
            block.value = None;
            block.statements.push(ast::Statement { kind, span });
            return Some(StmtKind::Block(self.block(&block)));
        }
        match &target.kind {
            ast::ExprKind::Variable(name) => self.assign_variable(name, target.span, op, value, span),
            ast::ExprKind::Map(name) => {
                let map = self.map(name, target.span);
                let key = self.scalar_key(map, target.span)?;
                self.assign_map(map, key, op, value, span)
            }
            ast::ExprKind::Index { base, indices } if matches!(base.kind, ast::ExprKind::Map(_)) => {
                let ast::ExprKind::Map(name) = &base.kind else { return None };
                let map = self.map(name, base.span);
                let key = self.map_key(map, indices, target.span);
                // The value is looked at even if the key is bad: both may be wrong.
                let Some(key) = key else {
                    self.learn_value(map, op, value);
                    return None;
                };
                self.assign_map(map, key, op, value, span)
            }
            ast::ExprKind::Identifier(word) if word == "_" && op.is_none() => self.expr(value).map(StmtKind::Expr),
            _ => {
                self.report(
                    Diagnostic::error("E0204", "this cannot be assigned to")
                        .at(target.span, "not a variable or map")
                        .help("variables begin with `$`, maps with `@`"),
                );
                None
            }
        }
    }

    /// Refuses `@copy = @count`: it could mean the number as well as the aggregation, unless
    /// the map holds numbers anyway.
    fn no_aggregation(&mut self, target: btc_payload::manifest::MapId, value: &ast::Expr) -> Option<()> {
        let name = match &value.kind {
            ast::ExprKind::Map(name) => name,
            ast::ExprKind::Index { base, .. } => match &base.kind {
                ast::ExprKind::Map(name) => name,
                _ => return Some(()),
            },
            _ => return Some(()),
        };
        let map = self.map(name, value.span);
        let Some(Type::Aggregate(aggregate)) = self.map_info(map).value.clone() else { return Some(()) };
        let is_number = self.aggregate_integer(&aggregate).is_some();
        if is_number && matches!(self.map_info(target).value, Some(Type::Int { .. })) {
            return Some(());
        }
        let function = types::aggregate_name(&aggregate);
        let number = if is_number { format!("its number is `(int64){name}`; ") } else { String::new() };
        self.report(
            Diagnostic::error("E0226", format!("`{name}` is an aggregation and cannot be copied"))
                .at(value.span, format!("made by `{function}()`"))
                .help(format!("{number}to aggregate once more, call `{function}()` here")),
        );
        None
    }

    /// An entry is assigned whose key is wrong, or not known yet because the map's own
    /// type is not: the value is looked at all the same.
    fn learn_value(&mut self, map: btc_payload::manifest::MapId, op: Option<ast::BinaryOp>, value: &ast::Expr) {
        if op.is_some() {
            return;
        }
        let found = match calls::aggregate(self, value) {
            Some(built) => built.map(|(aggregate, _)| (Type::Aggregate(aggregate), false)),
            None => self.value(value).map(|v| (self.storage_type(&v), self.is_natural(&v))),
        };
        if let Some((ty, natural)) = found {
            self.widen_value(map, (&ty, natural), value.span);
        }
    }

    fn assign_variable(
        &mut self,
        name: &str,
        at: Span,
        op: Option<ast::BinaryOp>,
        value: &ast::Expr,
        span: Span,
    ) -> Option<StmtKind> {
        let shown = name.split('#').next().unwrap_or(name).to_string();
        if calls::aggregate_name(value).is_some() {
            let message = format!("`{}()` can only be assigned to a map", calls::aggregate_name(value)?);
            return self.error("E0205", value.span, message, "aggregations live in maps");
        }
        let Some(op) = op else {
            let value = self.value(value);
            let local = match self.find_local(name) {
                Some(id) => id,
                None => self.declare_local(name, None, at)?,
            };
            let fixed = self.declared_type(local);
            return self.store_local(local, value?, fixed, &shown);
        };
        let read = self.expr(&ast::Expr { kind: ast::ExprKind::Variable(name.into()), span: at });
        let operand = self.value(value);
        let result = self.arithmetic(op, read?, operand?, span)?;
        let local = self.find_local(name)?;
        let fixed = self.declared_type(local);
        if fixed && result.ty.is_integral() {
            // `let $x : uint8` keeps its type; the sum wraps.
            let want = self.local_type(local)?;
            return Some(StmtKind::Assign { local, value: super::convert::convert(result, want) });
        }
        self.store_local(local, result, fixed, &shown)
    }

    /// Does the variable have a type that was written?
    pub(super) fn declared_type(&self, local: crate::hir::tree::LocalId) -> bool {
        self.probe.as_ref().is_some_and(|p| p.fixed.contains(&local))
    }

    fn assign_map(
        &mut self,
        map: btc_payload::manifest::MapId,
        key: Expr,
        op: Option<ast::BinaryOp>,
        value: &ast::Expr,
        span: Span,
    ) -> Option<StmtKind> {
        if self.unevaluated > 0 {
            return self.error(
                "E0227",
                span,
                "a map is assigned in what is never evaluated",
                "only its type is asked for",
            );
        }
        if op.is_none()
            && let Some(built) = calls::aggregate(self, value)
        {
            let (aggregate, value) = built?;
            self.widen_value(map, (&Type::Aggregate(aggregate.clone()), false), span)?;
            // What signedness all uses together need is known now.
            let Some(Type::Aggregate(aggregate)) = self.map_info(map).value.clone() else { return None };
            return Some(StmtKind::Aggregate { map, key, aggregate, value });
        }
        self.map_info_mut(map).assigned = true;
        if op.is_none() {
            self.no_aggregation(map, value)?;
        }
        let value = self.value(value)?;
        let Some(op) = op else {
            let ty = self.storage_type(&value);
            let natural = self.is_natural(&value);
            self.widen_value(map, (&ty, natural), value.span)?;
            let want = self.map_info(map).value.clone()?;
            let name = self.map_info(map).name.clone();
            let value = self.stored(value);
            let value = self.coerce(value, &want, &format!("map `{name}`"))?;
            return Some(StmtKind::MapAssign { map, key, value });
        };
        let old = self.map_info(map).value.clone().unwrap_or(Type::I64);
        let read = Expr { kind: ExprKind::MapRead { map, key: Box::new(key.clone()) }, ty: old, span };
        let result = self.arithmetic(op, read, value, span)?;
        self.widen_value(map, (&result.ty, false), span)?;
        let ExprKind::Binary { right, .. } = result.kind else {
            // Pointer arithmetic and the like: a plain store of the result.
            let want = self.map_info(map).value.clone()?;
            let value = super::convert::convert(result, want);
            return Some(StmtKind::MapAssign { map, key, value });
        };
        let want = self.map_info(map).value.clone()?;
        let value = super::convert::convert(*right, want);
        Some(StmtKind::MapUpdate { map, key, op, value })
    }
}
