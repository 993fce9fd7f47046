//! Checks the invariants of the typed tree that lowering relies on.
//!
//! In: a program. Out: what is wrong, with its place; nothing for a tree that
//! sema built as it should. Run after sema in debug builds and in tests: a
//! violation is a bug of the compiler.

use crate::hir::tree::{BinaryOp, Block, Expr, ExprKind, LocalId, Place, Probe, Program, Stmt, StmtKind};
use crate::hir::types::Type;
use crate::hir::visit::{Node, walk_block, walk_expr};
use crate::span::Span;
use btc_payload::manifest::MapId;

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where.
    pub span: Span,
    /// What.
    pub what: String,
}

/// All violations in a program.
pub fn verify(program: &Program) -> Vec<Violation> {
    let mut out = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    for probe in &program.probes {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !names.insert(&probe.function) || probe.function.is_empty() || !probe.function.chars().all(good) {
            let what = format!("`{}` is no unique function name", probe.function);
            out.push(Violation { span: probe.span, what });
        }
        let mut check = Check { program, probe, out: &mut out };
        check.probe();
    }
    out
}

struct Check<'a> {
    program: &'a Program,
    probe: &'a Probe,
    out: &'a mut Vec<Violation>,
}

impl Check<'_> {
    fn probe(&mut self) {
        let probe = self.probe;
        if let Some(e) = &probe.predicate {
            self.expect(e.ty == Type::Bool, e.span, "a predicate that is no bool");
            walk_expr(e, &mut |node| self.node(node));
        }
        walk_block(&probe.body, &mut |node| self.node(node));
        self.loops(&probe.body, false);
    }

    fn expect(&mut self, holds: bool, span: Span, what: &str) {
        if !holds {
            self.out.push(Violation { span, what: what.to_owned() });
        }
    }

    fn local(&mut self, id: LocalId, span: Span) -> Option<Type> {
        let ty = self.probe.locals.get(id.0 as usize).map(|l| l.ty.clone());
        self.expect(ty.is_some(), span, "a variable out of range");
        ty
    }

    fn key(&mut self, map: MapId, key: &Expr) -> Option<Type> {
        let Some(m) = self.program.maps.get(map.0 as usize) else {
            self.expect(false, key.span, "a map out of range");
            return None;
        };
        self.expect(key.ty == m.key, key.span, &format!("a key of another type than that of {}", m.name));
        Some(m.value.clone())
    }

    fn node(&mut self, node: Node<'_>) {
        match node {
            Node::Stmt(s) => self.stmt(s),
            Node::Expr(e) => self.expr(e),
        }
    }

    fn stmt(&mut self, s: &Stmt) {
        match &s.kind {
            StmtKind::Assign { local, value } => {
                let ty = self.local(*local, s.span);
                self.expect(ty.as_ref() == Some(&value.ty), s.span, "an assignment of another type");
            }
            StmtKind::Zero(local) => {
                self.local(*local, s.span);
            }
            StmtKind::MapAssign { map, key, value } | StmtKind::MapUpdate { map, key, value, .. } => {
                let ty = self.key(*map, key);
                self.expect(ty.as_ref() == Some(&value.ty), s.span, "a map value of another type");
            }
            StmtKind::Aggregate { map, key, aggregate, value } => {
                let ty = self.key(*map, key);
                let same = ty == Some(Type::Aggregate(aggregate.clone()));
                self.expect(same, s.span, "an aggregation of another kind");
                let wide = value.as_ref().is_none_or(|e| matches!(e.ty, Type::Int { size: 8, .. }));
                self.expect(wide, s.span, "an aggregated value that is no 64-bit integer");
            }
            StmtKind::If { condition, .. } | StmtKind::While { condition, .. } => {
                self.expect(condition.ty == Type::Bool, condition.span, "a condition that is no bool");
            }
            StmtKind::ForRange { variable, start, end, .. } => {
                let ty = self.local(*variable, s.span);
                self.expect(ty.is_some_and(|t| t.is_scalar()), s.span, "a range variable that is no integer");
                let wide = start.ty == Type::I64 && end.ty == Type::I64;
                self.expect(wide, s.span, "bounds of a range that are not int64");
            }
            StmtKind::ForMap { variable, map, .. } => {
                let ty = self.local(*variable, s.span);
                let pair = matches!(ty, Some(Type::Tuple(ref t)) if t.len() == 2);
                self.expect(pair, s.span, "a map variable that is no pair");
                self.expect((map.0 as usize) < self.program.maps.len(), s.span, "a map out of range");
            }
            _ => {}
        }
    }

    fn expr(&mut self, e: &Expr) {
        match &e.kind {
            ExprKind::Const(_) => self.expect(e.ty.is_scalar(), e.span, "a constant that is no scalar"),
            ExprKind::Str(bytes) => {
                let fits = matches!(e.ty, Type::Str { size } if (bytes.len() as u64) < u64::from(size));
                self.expect(fits, e.span, "a text without room for its NUL");
            }
            ExprKind::Local(id) => {
                let ty = self.local(*id, e.span);
                self.expect(ty.as_ref() == Some(&e.ty), e.span, "a variable read as another type");
            }
            ExprKind::AddressOfLocal(id) => {
                self.local(*id, e.span);
                let memory = self.probe.locals.get(id.0 as usize).is_some_and(|l| l.address_taken || !l.ty.is_scalar());
                self.expect(memory, e.span, "the address of a variable in a register");
            }
            ExprKind::Start(id) => {
                self.expect((id.0 as usize) < self.program.slots.len(), e.span, "a start value out of range");
            }
            ExprKind::MapRead { map, key }
            | ExprKind::AddressOfMap { map, key }
            | ExprKind::MapDelete { map, key }
            | ExprKind::MapHasKey { map, key }
            | ExprKind::MapFind { map, key, .. }
            | ExprKind::Increment { place: Place::Map { map, key }, .. } => {
                self.key(*map, key);
            }
            ExprKind::Binary { op, left, right } => self.binary(*op, left, right, e),
            ExprKind::Not(x) => self.expect(x.ty == Type::Bool, e.span, "`!` of no bool"),
            ExprKind::Ternary { condition, then, otherwise } => {
                self.expect(condition.ty == Type::Bool, condition.span, "a condition that is no bool");
                let same = e.ty == Type::Void || (then.ty == e.ty && otherwise.ty == e.ty);
                self.expect(same, e.span, "arms of another type");
            }
            ExprKind::Dereference(x) => {
                self.expect(matches!(x.ty, Type::Pointer { .. }), e.span, "a dereference of no pointer");
            }
            ExprKind::Field { base, .. } => {
                self.expect(matches!(base.ty, Type::Struct { .. }), e.span, "a field of no struct");
            }
            ExprKind::Tuple { elements, evaluation } => self.tuple(elements, evaluation, e),
            ExprKind::Emit { event, args } => self.emit(event.0, args, e),
            _ => {}
        }
    }

    fn binary(&mut self, op: BinaryOp, left: &Expr, right: &Expr, e: &Expr) {
        use BinaryOp::*;
        match op {
            LogicalAnd | LogicalOr => {
                let bools = left.ty == Type::Bool && right.ty == Type::Bool && e.ty == Type::Bool;
                self.expect(bools, e.span, "logic on no bools");
            }
            Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual => {
                let texts = matches!((&left.ty, &right.ty), (Type::Str { .. }, Type::Str { .. }));
                self.expect(left.ty == right.ty || texts, e.span, "a comparison of different types");
                self.expect(e.ty == Type::Bool, e.span, "a comparison that is no bool");
            }
            ShiftLeft | ShiftRight => self.expect(left.ty == e.ty, e.span, "a shift of another type"),
            _ => {
                let same = left.ty == e.ty && right.ty == e.ty && e.ty.is_integral();
                self.expect(same, e.span, "arithmetic on different types");
            }
        }
    }

    fn tuple(&mut self, elements: &[Expr], evaluation: &[u32], e: &Expr) {
        let types: Vec<&Type> = match &e.ty {
            Type::Tuple(t) => t.iter().collect(),
            Type::Record(t) => t.iter().map(|(_, t)| t).collect(),
            _ => Vec::new(),
        };
        let same = types.len() == elements.len() && types.iter().zip(elements).all(|(t, x)| **t == x.ty);
        self.expect(same, e.span, "a tuple of other types");
        let mut order = evaluation.to_vec();
        order.sort_unstable();
        let all = order.is_empty() || order.iter().copied().eq(0..elements.len() as u32);
        self.expect(all, e.span, "an order of evaluation that is no permutation");
    }

    fn emit(&mut self, event: u32, args: &[Expr], e: &Expr) {
        let Some(event) = self.program.events.get(event as usize) else {
            return self.expect(false, e.span, "an event out of range");
        };
        let same = event.fields.len() == args.len() && event.fields.iter().zip(args).all(|(t, a)| *t == a.ty);
        self.expect(same, e.span, "arguments of other types than the event's fields");
    }

    /// `break` and `continue` stand in loops.
    fn loops(&mut self, block: &Block, inside: bool) {
        for s in &block.statements {
            match &s.kind {
                StmtKind::Break | StmtKind::Continue => self.expect(inside, s.span, "a jump outside a loop"),
                StmtKind::If { then, otherwise, .. } => {
                    self.loops(then, inside);
                    self.loops(otherwise, inside);
                }
                StmtKind::Block(body) => self.loops(body, inside),
                StmtKind::While { body, .. }
                | StmtKind::Unroll { body, .. }
                | StmtKind::Repeat { body, .. }
                | StmtKind::ForRange { body, .. }
                | StmtKind::ForMap { body, .. } => self.loops(body, true),
                _ => {}
            }
        }
    }
}
