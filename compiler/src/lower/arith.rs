//! Operators on integers, and equality of everything else.
//!
//! Invariant: results wrap to the width of their type at once, so that every
//! register holds a value of its type.

use btc_payload::layout::{BUF_DATA, ValueType, fields_layout};

use super::expr::{comparison, is_logical};
use super::frame::Own;
use super::function::Fun;
use super::memory::width;
use super::{R, internal, unsupported};
use crate::clif::{Cmp, Value};
use crate::hir::tree::{BinaryOp, Expr};
use crate::hir::types::Type;
use crate::span::Span;

impl Fun<'_, '_, '_> {
    /// Cuts a number to the width of its type and extends it again.
    pub(super) fn wrap(&mut self, value: Value, ty: &Type) -> Value {
        let (size, signed) = ty.scalar_width();
        let w = width(u32::from(size));
        if signed { self.b.sign_extend(value, w) } else { self.b.zero_extend(value, w) }
    }

    /// A binary operator.
    pub(super) fn binary(&mut self, op: BinaryOp, left: &Expr, right: &Expr, e: &Expr) -> R<Value> {
        if is_logical(op) {
            return self.truth(e);
        }
        if matches!(op, BinaryOp::Equal | BinaryOp::NotEqual) && !left.ty.is_scalar() {
            let same = self.equal(left, right, e.span)?;
            if op == BinaryOp::Equal {
                return Ok(same);
            }
            let one = self.b.iconst(1);
            return Ok(self.b.xor(same, one));
        }
        let (a, b) = (self.scalar(left)?, self.scalar(right)?);
        if let Some(cmp) = comparison(op, left.ty.scalar_width().1) {
            let c = self.b.compare(cmp, a, b);
            return Ok(self.b.bool_value(c));
        }
        Ok(self.arithmetic(op, a, b, &e.ty))
    }

    /// An arithmetic operator on values of one type.
    pub(super) fn arithmetic(&mut self, op: BinaryOp, a: Value, b: Value, ty: &Type) -> Value {
        let signed = ty.scalar_width().1;
        // BPF's own result of a division by zero is 0 or the dividend, bpftrace's is 1.
        let faulty = matches!(op, BinaryOp::Divide | BinaryOp::Modulo).then(|| self.check_divisor(b));
        let f = &mut self.b;
        let b = match faulty {
            Some(faulty) if op == BinaryOp::Modulo => f.or(b, faulty),
            _ => b,
        };
        let result = match (op, signed) {
            (BinaryOp::Add, _) => f.add(a, b),
            (BinaryOp::Subtract, _) => f.sub(a, b),
            (BinaryOp::Multiply, _) => f.mul(a, b),
            (BinaryOp::Divide, false) => f.udiv(a, b),
            (BinaryOp::Divide, true) => f.sdiv(a, b),
            (BinaryOp::Modulo, false) => f.urem(a, b),
            (BinaryOp::Modulo, true) => f.srem(a, b),
            (BinaryOp::BitAnd, _) => f.and(a, b),
            (BinaryOp::BitOr, _) => f.or(a, b),
            (BinaryOp::BitXor, _) => f.xor(a, b),
            (BinaryOp::ShiftLeft, _) => f.shl(a, b),
            (BinaryOp::ShiftRight, false) => f.ushr(a, b),
            (BinaryOp::ShiftRight, true) => f.sshr(a, b),
            // Comparisons and logic are handled before.
            _ => a,
        };
        let result = match faulty {
            Some(faulty) => f.add(result, faulty),
            None => result,
        };
        // These cannot leave the range of their operands' type.
        let stays = matches!(op, BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor | BinaryOp::ShiftRight)
            || (matches!(op, BinaryOp::Divide | BinaryOp::Modulo) && !signed);
        if stays { result } else { self.wrap(result, ty) }
    }

    /// 1 if two values in memory have equal content.
    fn equal(&mut self, left: &Expr, right: &Expr, span: Span) -> R<Value> {
        if let (Type::Str { .. }, Type::Str { .. }) = (&left.ty, &right.ty) {
            return self.equal_texts(left, right);
        }
        let (a, b) = (self.memory(left)?, self.memory(right)?);
        let (x, y) = (self.cx.layouts.of(&left.ty), self.cx.layouts.of(&right.ty));
        self.equal_places(a, &x, b, &y, span)
    }

    fn equal_places(&mut self, a: Own, x: &ValueType, b: Own, y: &ValueType, span: Span) -> R<Value> {
        match (x, y) {
            (ValueType::Str { size: n }, ValueType::Str { size: m }) => Ok(self.equal_strings(a, *n, b, *m)),
            (ValueType::Tuple(p), ValueType::Tuple(q)) => {
                let (p, q): (Vec<_>, Vec<_>) = (p.iter().collect(), q.iter().collect());
                self.equal_fields(a, &p, b, &q, span)
            }
            (ValueType::Record(p), ValueType::Record(q)) => {
                let (p, q): (Vec<_>, Vec<_>) = (p.iter().map(|f| &f.1).collect(), q.iter().map(|f| &f.1).collect());
                self.equal_fields(a, &p, b, &q, span)
            }
            (ValueType::Unit, ValueType::Unit) => Ok(self.b.iconst(1)),
            (ValueType::Array { elem, len }, ValueType::Array { len: other, .. }) if len == other => {
                if contains_text(elem) {
                    return unsupported("comparing arrays of texts", span);
                }
                Ok(self.equal_long(a, b, x.size()))
            }
            (ValueType::Buf { size }, ValueType::Buf { size: other }) if size == other => {
                let (n, m) = (self.b.load(a.ptr, width(4)), self.b.load(b.ptr, width(4)));
                let same = self.b.compare(Cmp::Eq, n, m);
                let lengths = self.b.bool_value(same);
                let bytes = self.equal_up_to(a.at(BUF_DATA), b.at(BUF_DATA), *size, n);
                Ok(self.b.and(lengths, bytes))
            }
            _ if x.size() == y.size() => Ok(self.equal_long(a, b, x.size())),
            _ => internal("comparison of different types", span),
        }
    }

    fn equal_fields(&mut self, a: Own, p: &[&ValueType], b: Own, q: &[&ValueType], span: Span) -> R<Value> {
        if p.len() != q.len() {
            return internal("comparison of different tuples", span);
        }
        let (at, _) = fields_layout(p.iter().copied());
        let (bt, _) = fields_layout(q.iter().copied());
        let mut all = self.b.iconst(1);
        for i in 0..p.len() {
            let same = self.equal_places(a.at(at[i]), p[i], b.at(bt[i]), q[i], span)?;
            all = self.b.and(all, same);
        }
        Ok(all)
    }

    fn equal_long(&mut self, a: Own, b: Own, size: u32) -> Value {
        if size > 512 {
            let whole = self.b.iconst(i64::from(size));
            return self.equal_up_to(a, b, size, whole);
        }
        self.equal_bytes(a, b, size)
    }

    /// Clamps an index to `0..len`, so that the verifier knows the bound.
    pub(super) fn clamp(&mut self, index: Value, len: u32) -> Value {
        let last = i64::from(len.max(1) - 1);
        if let Some(i) = self.b.as_const(index) {
            return self.b.iconst(i.clamp(0, last));
        }
        // Old verifiers must see the very register that was checked.
        let (index, last) = (self.b.barrier(index), self.b.iconst(last));
        self.b.umin(index, last)
    }

    /// 1 or 0 for a comparison with a constant.
    pub(super) fn flag_if(&mut self, cmp: Cmp, value: Value, with: i64) -> Value {
        let c = self.b.compare_const(cmp, value, with);
        self.b.bool_value(c)
    }
}

fn contains_text(ty: &ValueType) -> bool {
    match ty {
        ValueType::Str { .. } | ValueType::Buf { .. } => true,
        ValueType::Array { elem, .. } => contains_text(elem),
        ValueType::Tuple(t) => t.iter().any(contains_text),
        ValueType::Record(t) => t.iter().any(|(_, t)| contains_text(t)),
        _ => false,
    }
}
