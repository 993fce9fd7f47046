//! Conversions between types, and copies of values of one type.

use btc_payload::layout::{BUF_DATA, STACK_HEADER, ValueType, fields_layout};

use super::frame::Own;
use super::function::Fun;
use super::layout::has_padding;
use super::memory::{Fill, width};
use super::{R, internal, unsupported};
use crate::clif::Value;
use crate::hir::tree::{Expr, ExprKind};
use crate::hir::types::{Space, Type};
use crate::span::Span;

impl Fun<'_, '_, '_> {
    /// A conversion whose result is a scalar.
    pub(super) fn convert_scalar(&mut self, x: &Expr, e: &Expr) -> R<Value> {
        if !x.ty.is_scalar() {
            return self.bytes_to_number(x, e);
        }
        let value = self.scalar(x)?;
        if e.ty == Type::Bool && x.ty != Type::Bool {
            let c = self.b.nonzero(value);
            let zero = self.b.iconst(0);
            let one = self.b.iconst(1);
            return Ok(self.b.select(c, one, zero));
        }
        let from_pointer = matches!(x.ty, Type::Pointer { .. }) && !matches!(e.ty, Type::Pointer { .. });
        let value = if from_pointer && self.has_typed_pointers() { self.untyped(value) } else { value };
        Ok(self.wrap(value, &e.ty))
    }

    /// The address in a typed pointer as a plain number: the verifier refuses
    /// arithmetic on the pointer itself, and forgets the type of what a helper reads.
    fn untyped(&mut self, pointer: Value) -> Value {
        let mark = self.mark();
        let (cell, copy) = (self.stack("pointer", 8), self.stack("address", 8));
        self.b.store(cell.ptr, width(8), pointer);
        let from = self.b.address(cell.ptr);
        self.read_kernel(copy, 8, from);
        let value = self.b.load(copy.ptr, width(8));
        self.release(mark);
        value
    }

    /// Bytes of an array as a number.
    fn bytes_to_number(&mut self, x: &Expr, e: &Expr) -> R<Value> {
        let size = self.size_of(&x.ty);
        if size != u32::from(e.ty.scalar_width().0) {
            return internal("conversion between sizes", e.span);
        }
        let place = self.memory(x)?;
        Ok(self.load_scalar(place, &e.ty))
    }

    /// A conversion whose result lives in memory.
    pub(super) fn convert_into(&mut self, x: &Expr, ty: &Type, to: Own, fill: Fill, span: Span) -> R<()> {
        if x.ty == *ty {
            return self.into(x, to, fill);
        }
        match (&x.ty, ty) {
            (Type::Str { .. }, Type::Str { size }) => self.resize_text(x, *size, to, fill),
            (Type::CharArray { len }, Type::Str { size }) => {
                let (address, space) = self.address_of(x)?;
                self.chars_to_text(address, space, *len, *size, to, fill);
                Ok(())
            }
            (Type::Array { elem, len }, Type::Str { size }) if elem.scalar_width().0 == 1 => {
                let (address, space) = self.address_of(x)?;
                self.chars_to_text(address, space, *len, *size, to, fill);
                Ok(())
            }
            (Type::Tuple(from), Type::Tuple(into)) => {
                let (from, into) = (from.iter().collect::<Vec<_>>(), into.iter().collect::<Vec<_>>());
                self.convert_elements(x, &from, &into, to, fill, span)
            }
            (Type::Record(from), Type::Record(into)) if same_names(from, into) => {
                let from: Vec<&Type> = from.iter().map(|(_, t)| t).collect();
                let into: Vec<&Type> = into.iter().map(|(_, t)| t).collect();
                self.convert_elements(x, &from, &into, to, fill, span)
            }
            (Type::Record(from), Type::Record(into)) => {
                let place = self.memory(x)?;
                self.reorder_record(place, from, into, to, fill, span)
            }
            (Type::Buf { size: from }, Type::Buf { size: into }) => {
                let place = self.memory(x)?;
                self.resize_buffer(place, *from, *into, to);
                Ok(())
            }
            (Type::Stack { frames: from, .. }, Type::Stack { frames: into, .. }) => {
                let place = self.memory(x)?;
                self.resize_stack(place, *from, *into, to);
                Ok(())
            }
            (Type::Array { elem: from, len }, Type::Array { elem: into, len: other }) if len == other => {
                let (from, into) = (vec![&**from; *len as usize], vec![&**into; *len as usize]);
                self.convert_elements(x, &from, &into, to, fill, span)
            }
            (from, _) if from.is_scalar() => {
                let (size, whole) = (u32::from(from.scalar_width().0), self.size_of(ty));
                if size != whole {
                    return internal("conversion between sizes", span);
                }
                let value = self.scalar(x)?;
                self.store_number(to, size, value);
                Ok(())
            }
            _ => {
                let (size, whole) = (self.size_of(&x.ty), self.size_of(ty));
                if size != whole {
                    return unsupported("this conversion", span);
                }
                let from = self.memory(x)?;
                self.copy(to, from, size);
                Ok(())
            }
        }
    }

    /// Converts the elements of a tuple, record or array one by one.
    fn convert_elements(&mut self, x: &Expr, from: &[&Type], into: &[&Type], to: Own, fill: Fill, span: Span) -> R<()> {
        if from.len() != into.len() {
            return internal("conversion between lengths", span);
        }
        // A literal tuple is converted while it is made.
        if let ExprKind::Tuple { elements, .. } = &x.kind {
            let layouts: Vec<_> = into.iter().map(|t| self.cx.layouts.of(t)).collect();
            let (offsets, size) = fields_layout(layouts.iter());
            self.zero_padding(&layouts, size, to, fill);
            for (i, element) in elements.iter().enumerate() {
                self.converted(element, into[i], to.at(offsets[i]), fill)?;
            }
            return Ok(());
        }
        let place = self.memory(x)?;
        let sources: Vec<_> = from.iter().map(|t| self.cx.layouts.of(t)).collect();
        let targets: Vec<_> = into.iter().map(|t| self.cx.layouts.of(t)).collect();
        let (at, _) = fields_layout(sources.iter());
        let (offsets, size) = fields_layout(targets.iter());
        self.zero_padding(&targets, size, to, fill);
        for i in 0..from.len() {
            self.convert_place(place.at(at[i]), from[i], into[i], to.at(offsets[i]), fill, span)?;
        }
        Ok(())
    }

    /// Fields of a record by name, whatever their order.
    fn reorder_record(
        &mut self,
        place: Own,
        from: &[(String, Type)],
        into: &[(String, Type)],
        to: Own,
        fill: Fill,
        span: Span,
    ) -> R<()> {
        let sources: Vec<_> = from.iter().map(|(_, t)| self.cx.layouts.of(t)).collect();
        let targets: Vec<_> = into.iter().map(|(_, t)| self.cx.layouts.of(t)).collect();
        let (at, _) = fields_layout(sources.iter());
        let (offsets, size) = fields_layout(targets.iter());
        self.zero_padding(&targets, size, to, fill);
        for (i, (name, ty)) in into.iter().enumerate() {
            let Some(k) = from.iter().position(|(n, _)| n == name) else {
                return internal("conversion between records", span);
            };
            self.convert_place(place.at(at[k]), &from[k].1, ty, to.at(offsets[i]), fill, span)?;
        }
        Ok(())
    }

    fn resize_buffer(&mut self, from: Own, n: u32, m: u32, to: Own) {
        self.zero(to, BUF_DATA + m);
        self.copy(to.at(BUF_DATA), from.at(BUF_DATA), n.min(m));
        let length = self.b.load(from.ptr, width(4));
        let most = self.b.iconst(i64::from(m));
        let length = self.b.umin(length, most);
        self.b.store(to.ptr, width(4), length);
    }

    fn resize_stack(&mut self, from: Own, n: u32, m: u32, to: Own) {
        self.zero(to, STACK_HEADER + m * 8);
        self.copy(to, from, STACK_HEADER + n.min(m) * 8);
        let count = self.b.load(from.ptr, width(4));
        let most = self.b.iconst(i64::from(m));
        let count = self.b.umin(count, most);
        self.b.store(to.ptr, width(4), count);
    }

    fn zero_padding(&mut self, fields: &[ValueType], size: u32, to: Own, fill: Fill) {
        let covered: u32 = fields.iter().map(ValueType::size).sum();
        if fill == Fill::Exact && covered != size {
            self.zero(to, size);
        }
    }

    /// Writes an expression as another type.
    fn converted(&mut self, x: &Expr, ty: &Type, to: Own, fill: Fill) -> R<()> {
        if ty.is_scalar() {
            let value = self.scalar(x)?;
            let value = self.wrap(value, ty);
            self.store_scalar(to, ty, value);
            return Ok(());
        }
        self.convert_into(x, ty, to, fill, x.span)
    }

    /// Converts a value that lies in memory.
    fn convert_place(&mut self, from: Own, a: &Type, b: &Type, to: Own, fill: Fill, span: Span) -> R<()> {
        if a == b {
            return self.copy_value(from, a, to, fill);
        }
        match (a, b) {
            (a, b) if a.is_scalar() && b.is_scalar() => {
                let value = self.load_scalar(from, a);
                let value = self.wrap(value, b);
                self.store_scalar(to, b, value);
                Ok(())
            }
            (Type::Str { size: n }, Type::Str { size: m }) => {
                self.resize_place(from, *n, *m, to, fill);
                Ok(())
            }
            (Type::Tuple(p), Type::Tuple(q)) if p.len() == q.len() => {
                let sources: Vec<_> = p.iter().map(|t| self.cx.layouts.of(t)).collect();
                let targets: Vec<_> = q.iter().map(|t| self.cx.layouts.of(t)).collect();
                let (at, _) = fields_layout(sources.iter());
                let (offsets, size) = fields_layout(targets.iter());
                self.zero_padding(&targets, size, to, fill);
                for i in 0..p.len() {
                    self.convert_place(from.at(at[i]), &p[i], &q[i], to.at(offsets[i]), fill, span)?;
                }
                Ok(())
            }
            (Type::Record(p), Type::Record(q)) if p.len() == q.len() => self.reorder_record(from, p, q, to, fill, span),
            (Type::Array { elem: p, len }, Type::Array { elem: q, len: other }) if len == other => {
                let (step, stride) = (self.size_of(p), self.size_of(q));
                for i in 0..*len {
                    self.convert_place(from.at(i * step), p, q, to.at(i * stride), fill, span)?;
                }
                Ok(())
            }
            (Type::Buf { size: n }, Type::Buf { size: m }) => {
                self.resize_buffer(from, *n, *m, to);
                Ok(())
            }
            (Type::Stack { frames: n, .. }, Type::Stack { frames: m, .. }) => {
                self.resize_stack(from, *n, *m, to);
                Ok(())
            }
            _ => unsupported("this conversion", span),
        }
    }

    /// Copies a value of one type.
    pub(super) fn copy_value(&mut self, from: Own, ty: &Type, to: Own, fill: Fill) -> R<()> {
        let layout = self.cx.layouts.of(ty);
        self.copy_layout(from, &layout, to, fill);
        Ok(())
    }

    fn copy_layout(&mut self, from: Own, ty: &ValueType, to: Own, fill: Fill) {
        if fill == Fill::Loose || !has_undefined_bytes(ty) {
            return self.copy(to, from, ty.size());
        }
        match ty {
            ValueType::Str { size } => self.resize_place(from, *size, *size, to, fill),
            ValueType::Tuple(elems) => self.copy_fields(from, &elems.iter().collect::<Vec<_>>(), to),
            ValueType::Record(elems) => self.copy_fields(from, &elems.iter().map(|(_, t)| t).collect::<Vec<_>>(), to),
            ValueType::Array { elem, len } => {
                for i in 0..*len {
                    let at = i * elem.size();
                    self.copy_layout(from.at(at), elem, to.at(at), fill);
                }
            }
            _ => self.copy(to, from, ty.size()),
        }
    }

    fn copy_fields(&mut self, from: Own, fields: &[&ValueType], to: Own) {
        let (offsets, size) = fields_layout(fields.iter().copied());
        let covered: u32 = fields.iter().map(|f| f.size()).sum();
        if covered != size {
            self.zero(to, size);
        }
        for (field, at) in fields.iter().zip(offsets) {
            self.copy_layout(from.at(at), field, to.at(at), Fill::Exact);
        }
    }

    /// `char[len]` at an address as text.
    fn chars_to_text(&mut self, address: Value, space: Space, len: u32, size: u32, to: Own, fill: Fill) {
        if fill == Fill::Exact {
            self.zero(to, size);
        } else {
            self.b.store_const(to.at(size - 1).ptr, width(1), 0);
        }
        // At most `len` characters: the last byte that the helper writes is the NUL.
        let most = self.b.iconst(i64::from(size.min(len + 1)));
        self.read_far_text(to, most, address, space);
    }
}

fn same_names(a: &[(String, Type)], b: &[(String, Type)]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.0 == y.0)
}

/// Can two equal values differ in their bytes?
fn has_undefined_bytes(ty: &ValueType) -> bool {
    match ty {
        ValueType::Str { .. } => true,
        ValueType::Tuple(elems) => has_padding(ty) || elems.iter().any(has_undefined_bytes),
        ValueType::Record(elems) => has_padding(ty) || elems.iter().any(|(_, t)| has_undefined_bytes(t)),
        ValueType::Array { elem, .. } => has_undefined_bytes(elem),
        _ => false,
    }
}
