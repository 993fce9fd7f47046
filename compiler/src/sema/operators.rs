//! Infix operators and the ternary: result types, literal folding.
//!
//! In: operands of the syntax tree. Out: operands converted to what
//! `ExprKind::Binary` asks for. Arithmetic is done in 64 bits; it is unsigned when
//! both sides are (a natural number sides with the other), except `-`, which is signed.

use super::checker::{Checker, Typed, constant, literal};
use super::convert::convert;
use super::types;
use crate::diagnostic::Diagnostic;
use crate::hir::tree::{BinaryOp, Expr, ExprKind};
use crate::hir::types::Type;
use crate::span::Span;
use crate::syntax::ast;
use btc_payload::probe::AttachPoint;
use btc_payload::start::StartValue;

fn is_comparison(op: BinaryOp) -> bool {
    use BinaryOp::*;
    matches!(op, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual)
}

/// Is the value of an unsigned type?
fn is_unsigned(e: &Expr) -> bool {
    match &e.ty {
        Type::Bool | Type::Pointer { .. } => true,
        Type::Enum { signed, .. } => !signed,
        ty => !ty.scalar_width().1,
    }
}

fn make(op: BinaryOp, left: Expr, right: Expr, ty: Type, span: Span) -> Expr {
    let kind = ExprKind::Binary { op, left: Box::new(left), right: Box::new(right) };
    Expr { kind, ty, span }
}

impl Checker<'_> {
    pub(super) fn binary(&mut self, op: BinaryOp, left: &ast::Expr, right: &ast::Expr, span: Span) -> Typed {
        if matches!(op, BinaryOp::LogicalAnd | BinaryOp::LogicalOr) {
            let (l, r) = (self.condition(left), self.condition(right));
            return Some(self.logical(op, l?, r?, span));
        }
        let (l, r) = (self.value(left), self.value(right));
        let (mut l, mut r) = (l?, r?);
        if is_comparison(op) {
            // A parameter or a name stands for text where it is compared with text.
            let (left_type, right_type) = (l.ty.clone(), r.ty.clone());
            for (side, written, other) in [(&mut l, left, right_type), (&mut r, right, left_type)] {
                if !matches!(other, Type::Str { .. }) {
                    continue;
                }
                *side = match written.kind {
                    ast::ExprKind::Positional(n) => self.positional_text(n, written.span),
                    _ => self.named_text(side.clone()),
                };
            }
        }
        if is_comparison(op) { self.comparison(op, l, r, span) } else { self.arithmetic(op, l, r, span) }
    }

    fn logical(&mut self, op: BinaryOp, left: Expr, right: Expr, span: Span) -> Expr {
        // A constant left side decides; a constant right one must still leave
        // the left side's effects alone.
        if let ExprKind::Const(v) = left.kind {
            let decided = (op == BinaryOp::LogicalOr) == (v != 0);
            return if decided { constant(v, Type::Bool, span) } else { Expr { span, ..right } };
        }
        make(op, left, right, Type::Bool, span)
    }

    /// Arithmetic on values; also what `op=` does.
    pub(super) fn arithmetic(&mut self, op: BinaryOp, l: Expr, r: Expr, span: Span) -> Typed {
        if let (Some(a), Some(b)) = (literal(&l), literal(&r)) {
            if let Some(v) = fold(op, a, b) {
                let v64 = v as u64;
                return Some(constant(v64, types::literal_type(v64, v < 0), span));
            }
            if !matches!(op, BinaryOp::Divide | BinaryOp::Modulo) {
                let message = format!("`{a} {} {b}` does not fit 64 bits", op.symbol());
                self.warn("W0268", span, message, "wraps, as in the machine");
            }
        }
        if matches!(l.ty, Type::Pointer { .. }) || matches!(r.ty, Type::Pointer { .. }) {
            return self.pointer_arithmetic(op, l, r, span);
        }
        if let (ExprKind::Str(text), BinaryOp::Add) = (&l.kind, op)
            && let Some(joined) = add_to_text(text, &r)
        {
            return Some(super::expr::text(&joined, span));
        }
        if let (Type::Str { .. }, BinaryOp::Add) = (&l.ty, op) {
            self.report(
                Diagnostic::error("E0260", "texts cannot be added")
                    .at(span, "")
                    .help("`str_concat(a, b)` joins two texts"),
            );
            return None;
        }
        for (e, side) in [(&l, "left"), (&r, "right")] {
            if !e.ty.is_integral() {
                let message =
                    format!("the {side} side of `{}` is `{}`, not an integer", op.symbol(), self.spell(&e.ty));
                return self.error("E0261", e.span, message, "an integer is expected");
            }
        }
        let shift = matches!(op, BinaryOp::ShiftLeft | BinaryOp::ShiftRight);
        let unsigned = match (self.is_natural(&l), self.is_natural(&r)) {
            (true, false) => is_unsigned(&r),
            (false, true) => is_unsigned(&l),
            _ if shift => is_unsigned(&l),
            _ => is_unsigned(&l) && is_unsigned(&r),
        };
        let ty = Type::Int { size: 8, signed: !unsigned || op == BinaryOp::Subtract };
        if matches!(op, BinaryOp::Divide | BinaryOp::Modulo) && literal(&r) == Some(0) {
            self.warn("W0262", span, "division by zero", "gives 1");
        }
        let (l, r) = (self.integer(l, !unsigned, "this")?, self.integer(r, !unsigned, "this")?);
        let (l, r) = (convert(l, ty.clone()), convert(r, ty.clone()));
        Some(make(op, l, r, ty, span))
    }

    fn pointer_arithmetic(&mut self, op: BinaryOp, l: Expr, r: Expr, span: Span) -> Typed {
        let (pointer, count, negate) = match (&l.ty, &r.ty, op) {
            (Type::Pointer { .. }, Type::Pointer { .. }, BinaryOp::Subtract) => {
                let kind = ExprKind::PointerDifference { left: Box::new(l), right: Box::new(r) };
                return Some(Expr { kind, ty: Type::I64, span });
            }
            (Type::Pointer { .. }, t, BinaryOp::Add | BinaryOp::Subtract) if t.is_integral() => {
                (l, r, op == BinaryOp::Subtract)
            }
            (t, Type::Pointer { .. }, BinaryOp::Add) if t.is_integral() => (r, l, false),
            _ => {
                let message = format!("`{}` does not work on pointers", op.symbol());
                self.report(
                    Diagnostic::error("E0263", message)
                        .at(span, "")
                        .help("cast the pointer to `uint64` to calculate with the address"),
                );
                return None;
            }
        };
        let mut count = self.integer(count, true, "the offset")?;
        if negate {
            let at = count.span;
            count = match count.kind {
                ExprKind::Const(v) => constant(v.wrapping_neg(), Type::I64, at),
                _ => Expr { kind: ExprKind::Negate(Box::new(count)), ty: Type::I64, span: at },
            };
        }
        let ty = pointer.ty.clone();
        Some(Expr { kind: ExprKind::PointerOffset { pointer: Box::new(pointer), count: Box::new(count) }, ty, span })
    }

    fn comparison(&mut self, op: BinaryOp, l: Expr, r: Expr, span: Span) -> Typed {
        use Type::*;
        let equality = matches!(op, BinaryOp::Equal | BinaryOp::NotEqual);
        if let (Some(a), Some(b)) = (literal(&l), literal(&r)) {
            return Some(constant(u64::from(compare(op, a, b)), Bool, span));
        }
        if let Some(holds) = known_comparison(op, &l, &r) {
            return Some(constant(u64::from(holds), Bool, span));
        }
        match (&l.ty, &r.ty) {
            (ProbeName | FunctionName, Str { .. }) => return self.probe_comparison(op, l, r, span),
            (Str { .. }, ProbeName | FunctionName) => return self.probe_comparison(op, r, l, span),
            (Str { .. }, Str { .. }) if equality => return self.text_comparison(op, l, r, span),
            (a, b) if a.is_scalar() && b.is_scalar() => {
                let numbers = |t: &Type| t.is_integral() || matches!(t, Pointer { .. } | KernelSymbol);
                if a == b || (numbers(a) && numbers(b)) {
                    return Some(self.number_comparison(op, l, r, span));
                }
            }
            (a, b) if equality && !matches!((a, b), (Str { .. }, _) | (_, Str { .. })) => {
                // Tuples of (7, "x") and the like compare in the type that holds both.
                if let Some(ty) = types::join(a, b) {
                    return Some(make(op, convert(l, ty.clone()), convert(r, ty), Bool, span));
                }
                // Tuples of other types or lengths are never equal.
                if let (Tuple(_), Tuple(_)) = (a, b) {
                    return Some(constant(u64::from(op == BinaryOp::NotEqual), Bool, span));
                }
            }
            _ => {}
        }
        let message = format!("`{}` cannot compare `{}` with `{}`", op.symbol(), self.spell(&l.ty), self.spell(&r.ty));
        self.error("E0264", span, message, "the types do not fit")
    }

    fn text_comparison(&mut self, op: BinaryOp, l: Expr, r: Expr, span: Span) -> Typed {
        Some(make(op, l, r, Type::Bool, span))
    }

    /// Integers, booleans, enumerators and addresses: a common 64-bit type, so
    /// that -1 is less than 3 and the largest `uint64` greater than 5.
    fn number_comparison(&mut self, op: BinaryOp, l: Expr, r: Expr, span: Span) -> Expr {
        let unsigned = match (self.is_natural(&l), self.is_natural(&r)) {
            (true, false) => is_unsigned(&r),
            (false, true) => is_unsigned(&l),
            _ => is_unsigned(&l) && is_unsigned(&r),
        };
        let ty = Type::Int { size: 8, signed: !unsigned };
        let fix = |e: Expr| if literal(&e).is_some() { Expr { ty: ty.clone(), ..e } } else { convert(e, ty.clone()) };
        make(op, fix(l), fix(r), Type::Bool, span)
    }

    /// `probe == "..."`: known while compiling unless the attach point is expanded on the
    /// target; then the tracer tells which of its attach points has that name.
    fn probe_comparison(&mut self, op: BinaryOp, name: Expr, text: Expr, span: Span) -> Typed {
        let ExprKind::Str(text) = &text.kind else {
            return self.error("E0265", span, "the name of a probe compares with constant texts only", "");
        };
        let text = String::from_utf8_lossy(text).into_owned();
        let program = self.program.probes.len() as u32;
        match self.known_name(&name.ty) {
            Some(known) => Some(constant(u64::from((known == text) == (op == BinaryOp::Equal)), Type::Bool, span)),
            None => {
                let first = self.start(StartValue::ProbeId { program, name: text.clone() }, Type::U64, span);
                let count = self.start(StartValue::ProbeCount { program, name: text }, Type::U64, span);
                let distance = make(BinaryOp::Subtract, convert(name, Type::U64), first, Type::U64, span);
                let inside = if op == BinaryOp::Equal { BinaryOp::Less } else { BinaryOp::GreaterEqual };
                Some(make(inside, distance, count, Type::Bool, span))
            }
        }
    }

    /// `probe` or `func` where the attach point is not expanded on the target.
    pub(super) fn known_name(&self, ty: &Type) -> Option<String> {
        let probe = self.probe.as_ref()?;
        match ty {
            Type::ProbeName => (!probe.written.contains(['*', '?', '[', '$'])).then(|| probe.written.clone()),
            _ => function_of(&probe.attach),
        }
    }

    pub(super) fn ternary(
        &mut self,
        condition: &ast::Expr,
        then: Option<&ast::Expr>,
        otherwise: &ast::Expr,
        span: Span,
    ) -> Typed {
        let Some(then) = then else { return self.elvis(condition, otherwise, span) };
        let c = self.condition(condition);
        if let Some(ExprKind::Const(v)) = c.as_ref().map(|c| &c.kind) {
            // Only the arm that is taken counts, so that `fail()` in the other is no error.
            let taken = if *v != 0 { then } else { otherwise };
            return self.expr(taken).map(|e| self.stored_or_void(e));
        }
        let (a, b) = (self.expr(then), self.expr(otherwise));
        let (c, a, b) = (c?, a?, b?);
        let (a, b) = (self.stored_or_void(a), self.stored_or_void(b));
        let Some(ty) = self.arms(&a, &b) else {
            let message = format!("the two sides of `?:` are `{}` and `{}`", self.spell(&a.ty), self.spell(&b.ty));
            return self.error("E0267", span, message, "both sides must have one type");
        };
        let (then, otherwise) = (convert(a, ty.clone()), convert(b, ty.clone()));
        let kind = ExprKind::Ternary { condition: Box::new(c), then: Box::new(then), otherwise: Box::new(otherwise) };
        Some(Expr { kind, ty, span })
    }

    fn stored_or_void(&self, e: Expr) -> Expr {
        if e.ty == Type::Void { e } else { self.stored(e) }
    }

    fn arms(&self, a: &Expr, b: &Expr) -> Option<Type> {
        // `p ? p : 0`
        match (&a.ty, &b.ty) {
            (Type::Pointer { .. }, Type::Int { .. }) if literal(b) == Some(0) => Some(a.ty.clone()),
            (Type::Int { .. }, Type::Pointer { .. }) if literal(a) == Some(0) => Some(b.ty.clone()),
            (x, y) => types::join_naturals((x, self.is_natural(a)), (y, self.is_natural(b))),
        }
    }

    /// `a ?: b`: `a` is evaluated once.
    fn elvis(&mut self, a: &ast::Expr, b: &ast::Expr, span: Span) -> Typed {
        let first = self.value(a)?;
        let first = self.stored(first);
        let ty = first.ty.clone();
        let local = self.temporary("elvis", ty.clone(), span)?;
        if self.is_natural(&first) {
            self.holds_naturals(local, &ty);
        }
        let read = Expr { kind: ExprKind::Local(local), ty, span: a.span };
        let condition = self.truth(read.clone())?;
        let second = self.value(b)?;
        let second = self.stored(second);
        let Some(ty) = self.arms(&read, &second) else {
            return self.error("E0267", span, "the two sides of `?:` have different types", "");
        };
        let kind = ExprKind::Ternary {
            condition: Box::new(condition),
            then: Box::new(convert(read, ty.clone())),
            otherwise: Box::new(convert(second, ty.clone())),
        };
        let value = Expr { kind, ty: ty.clone(), span };
        let assign =
            crate::hir::tree::Stmt { kind: crate::hir::tree::StmtKind::Assign { local, value: first }, span: a.span };
        let body = crate::hir::tree::Block { statements: vec![assign] };
        Some(Expr { kind: ExprKind::Block { body, value: Box::new(value) }, ty, span })
    }
}

/// The function name that `func` shows, when the attach point alone tells.
fn function_of(attach: &AttachPoint) -> Option<String> {
    let text = match attach {
        AttachPoint::Kprobe { function, .. } | AttachPoint::Fentry { function, .. } => function,
        AttachPoint::Uprobe { at: btc_payload::probe::UserLocation::Symbol { name, .. }, .. } => name,
        _ => return None,
    };
    let text = text.as_literal()?;
    (!btc_payload::probe::is_pattern(text)).then(|| text.to_string())
}

/// What `+` makes of a literal text: it joins another one, and skips as many
/// characters as a number says.
fn add_to_text(text: &[u8], other: &Expr) -> Option<Vec<u8>> {
    match &other.kind {
        ExprKind::Str(end) => Some([text, end].concat()),
        _ => {
            let skip = usize::try_from(literal(other)?).ok()?;
            Some(text.get(skip..).unwrap_or_default().to_vec())
        }
    }
}

/// Compares literal texts, and tuples of literals; `None` where a side is not known
/// while compiling.
fn known_comparison(op: BinaryOp, l: &Expr, r: &Expr) -> Option<bool> {
    match (&l.kind, &r.kind) {
        (ExprKind::Str(a), ExprKind::Str(b)) => Some(ordered(op, a.cmp(b))),
        (ExprKind::Tuple { .. }, ExprKind::Tuple { .. }) => match op {
            BinaryOp::Equal => known_equal(l, r),
            BinaryOp::NotEqual => known_equal(l, r).map(|same| !same),
            _ => None,
        },
        _ => None,
    }
}

fn known_equal(l: &Expr, r: &Expr) -> Option<bool> {
    match (&l.kind, &r.kind) {
        (ExprKind::Const(a), ExprKind::Const(b)) if l.ty == Type::Bool && r.ty == Type::Bool => Some(a == b),
        (ExprKind::Const(_), ExprKind::Const(_)) => Some(literal(l)? == literal(r)?),
        (ExprKind::Str(a), ExprKind::Str(b)) => Some(a == b),
        (ExprKind::Tuple { elements: a, .. }, ExprKind::Tuple { elements: b, .. }) => {
            let names = |ty: &Type| match ty {
                Type::Record(fields) => fields.iter().map(|(n, _)| n.clone()).collect(),
                _ => Vec::new(),
            };
            if a.len() != b.len() || names(&l.ty) != names(&r.ty) {
                return None;
            }
            a.iter().zip(b).try_fold(true, |same, (a, b)| Some(known_equal(a, b)? && same))
        }
        _ => None,
    }
}

/// Folds integer literals; `None` where the result does not fit or is undefined.
fn fold(op: BinaryOp, a: i128, b: i128) -> Option<i128> {
    use BinaryOp::*;
    let v = match op {
        Add => a + b,
        Subtract => a - b,
        Multiply => a.checked_mul(b)?,
        Divide if b != 0 => a / b,
        Modulo if b != 0 => a % b,
        BitAnd => a & b,
        BitOr => a | b,
        BitXor => a ^ b,
        // What is shifted out is gone, as in the machine.
        ShiftLeft if (0..64).contains(&b) && a < 0 => i128::from((a as i64) << b),
        ShiftLeft if (0..64).contains(&b) => i128::from((a as u64) << b),
        ShiftRight if (0..64).contains(&b) => a >> b,
        _ => return None,
    };
    if v > i128::from(u64::MAX) || v < i128::from(i64::MIN) { None } else { Some(v) }
}

fn compare(op: BinaryOp, a: i128, b: i128) -> bool {
    ordered(op, a.cmp(&b))
}

/// Does a comparison hold for things in this order?
fn ordered(op: BinaryOp, order: std::cmp::Ordering) -> bool {
    use BinaryOp::*;
    match op {
        Equal => order.is_eq(),
        NotEqual => order.is_ne(),
        Less => order.is_lt(),
        LessEqual => order.is_le(),
        Greater => order.is_gt(),
        _ => order.is_ge(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding() {
        assert_eq!(fold(BinaryOp::ShiftLeft, 1, 16), Some(65536));
        assert_eq!(fold(BinaryOp::Subtract, 3, 5), Some(-2));
        assert_eq!(fold(BinaryOp::ShiftLeft, 1, 63), Some(1 << 63));
        assert_eq!(fold(BinaryOp::Divide, 1, 0), None);
        assert_eq!(fold(BinaryOp::Multiply, i128::from(i64::MAX), 3), None);
        assert!(compare(BinaryOp::Less, -5, 3));
    }
}
