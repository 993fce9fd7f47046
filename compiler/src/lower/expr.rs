//! Expressions: scalars to registers, everything else to memory.
//!
//! In: a typed expression. Out: a register ([`Fun::scalar`]), a condition
//! ([`Fun::condition`]), a place that holds the value ([`Fun::memory`]), or the
//! value written where the caller wants it ([`Fun::into`]), which saves copies.
//! Invariant: a scalar in a register is extended to 64 bits as its type says.

use btc_payload::layout::fields_layout;
use btc_payload::start::StartValue;

use super::access::Loc;
use super::frame::Own;
use super::function::{Fun, Home};
use super::memory::Fill;
use super::{R, internal, unsupported};
use crate::btf::core::{CoreKind, Step};
use crate::clif::{Block, Bool, Cmp, Symbol, Value};
use crate::ctypes::{CKind, CTypeId, FieldPath};
use crate::hir::tree::{BinaryOp, Expr, ExprKind, LocalId, Place, SlotId};
use crate::hir::types::Type;
use crate::span::Span;

impl Fun<'_, '_, '_> {
    /// The value of a scalar expression.
    pub(super) fn scalar(&mut self, e: &Expr) -> R<Value> {
        let outer = std::mem::replace(&mut self.span, e.span);
        let value = self.scalar_here(e);
        self.span = outer;
        value
    }

    fn scalar_here(&mut self, e: &Expr) -> R<Value> {
        use ExprKind::*;
        match &e.kind {
            Const(v) => Ok(self.b.iconst(*v as i64)),
            Zero => Ok(self.b.iconst(0)),
            Start(slot) => self.start_scalar(*slot, e.span),
            Local(id) => self.local_scalar(*id, e),
            AddressOfLocal(id) => {
                let place = self.local_memory(*id, e.span)?;
                Ok(self.b.address(place.ptr))
            }
            AddressOfMap { map, key } => self.map_address(*map, key),
            KernelEnumerator { ctype, name, value } => self.enumerator(*ctype, name, *value, e),
            KernelSizeof(ctype) => self.kernel_size(*ctype, e.span),
            KernelOffsetof { root, path } => self.kernel_offset(*root, path, e.span),
            MapRead { map, key } => self.map_read(*map, key, e),
            Negate(x) => {
                let v = self.scalar(x)?;
                let v = self.b.neg(v);
                Ok(self.wrap(v, &e.ty))
            }
            Complement(x) => {
                let v = self.scalar(x)?;
                let v = self.b.not(v);
                Ok(self.wrap(v, &e.ty))
            }
            Not(_) => self.truth(e),
            Binary { op, left, right } => self.binary(*op, left, right, e),
            PointerOffset { pointer, count } => self.pointer_offset(pointer, count, e.span),
            PointerDifference { left, right } => self.pointer_difference(left, right, e.span),
            Increment { place, decrement, prefix } => self.increment(place, *decrement, *prefix, true, e),
            Ternary { condition, then, otherwise } => self.ternary(condition, then, otherwise),
            Convert(x) => self.convert_scalar(x, e),
            Dereference(_) | Field { .. } | Element { .. } | TupleElement { .. } | TracepointField(_) => {
                let lvalue = self.lvalue(e)?;
                self.read_scalar(lvalue, &e.ty)
            }
            StrByte { base, index } => {
                let byte = self.str_byte(base, index)?;
                Ok(self.wrap(byte, &e.ty))
            }
            Argument { name, position } => Ok(self.argument(name, *position, &e.ty)),
            ReturnValue { position } => Ok(self.return_value(*position, &e.ty)),
            Context => Ok(self.b.address(self.context)),
            Intrinsic { which, args } => self.intrinsic(which, args, e),
            MapDelete { map, key } => self.map_delete(*map, key),
            MapHasKey { map, key } => self.map_has_key(*map, key),
            MapFind { map, key, into } => self.map_find(*map, key, *into, e.span),
            MapLen { map } => self.map_len(*map, e.span),
            Emit { event, args } => {
                self.emit(*event, args, e.span)?;
                Ok(self.b.iconst(0))
            }
            Block { body, value } => {
                self.block(body)?;
                self.scalar(value)
            }
            Str(_) | Bytes(_) | Tuple { .. } => internal("a value in memory where a number is wanted", e.span),
        }
    }

    /// Evaluates for the effects.
    pub(super) fn effect(&mut self, e: &Expr) -> R<()> {
        match &e.kind {
            ExprKind::Ternary { condition, then, otherwise } => {
                let (yes, no, end) = self.fork(condition)?;
                self.b.switch_to(yes);
                self.effect(then)?;
                self.b.jump(end);
                self.b.switch_to(no);
                self.effect(otherwise)?;
                self.b.jump(end);
                self.b.seal(end);
                self.b.switch_to(end);
                Ok(())
            }
            ExprKind::Block { body, value } => {
                self.block(body)?;
                self.effect(value)
            }
            ExprKind::Increment { place, decrement, prefix } => {
                self.increment(place, *decrement, *prefix, false, e).map(|_| ())
            }
            ExprKind::Const(_) | ExprKind::Zero | ExprKind::Str(_) => Ok(()),
            _ if e.ty.is_scalar() || e.ty == Type::Void => self.scalar(e).map(|_| ()),
            _ => self.memory(e).map(|_| ()),
        }
    }

    /// A `Bool` expression as a condition.
    pub(super) fn condition(&mut self, e: &Expr) -> R<Bool> {
        match &e.kind {
            ExprKind::Not(x) => {
                let c = self.condition(x)?;
                Ok(self.b.negate(c))
            }
            ExprKind::Binary { op, left, right } if left.ty.is_scalar() && !is_logical(*op) => {
                match comparison(*op, left.ty.scalar_width().1) {
                    Some(cmp) => {
                        let (a, b) = (self.scalar(left)?, self.scalar(right)?);
                        Ok(self.b.compare(cmp, a, b))
                    }
                    None => internal("arithmetic of type bool", e.span),
                }
            }
            ExprKind::Convert(x) if x.ty.is_scalar() => {
                let v = self.scalar(x)?;
                Ok(self.b.nonzero(v))
            }
            _ => {
                let v = self.scalar(e)?;
                Ok(self.b.nonzero(v))
            }
        }
    }

    /// Goes on to `yes` or `no`; the right operands of `&&` and `||` are
    /// evaluated only where they matter.
    pub(super) fn branch_on(&mut self, e: &Expr, yes: Block, no: Block) -> R<()> {
        match &e.kind {
            ExprKind::Not(x) => self.branch_on(x, no, yes),
            ExprKind::Binary { op, left, right } if is_logical(*op) => {
                let next = self.b.create_block();
                if *op == BinaryOp::LogicalAnd {
                    self.branch_on(left, next, no)?;
                } else {
                    self.branch_on(left, yes, next)?;
                }
                self.b.seal(next);
                self.b.switch_to(next);
                self.branch_on(right, yes, no)
            }
            _ => {
                let c = self.condition(e)?;
                self.b.branch(c, yes, no);
                Ok(())
            }
        }
    }

    /// Branches to two new blocks, both sealed; the third is for what follows.
    pub(super) fn fork(&mut self, condition: &Expr) -> R<(Block, Block, Block)> {
        let (yes, no, end) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        self.branch_on(condition, yes, no)?;
        self.b.seal(yes);
        self.b.seal(no);
        Ok((yes, no, end))
    }

    /// A condition with short-circuits as 0 or 1.
    pub(super) fn truth(&mut self, e: &Expr) -> R<Value> {
        let result = self.b.var();
        let (yes, no, end) = self.fork(e)?;
        for (block, value) in [(yes, 1), (no, 0)] {
            self.b.switch_to(block);
            let value = self.b.iconst(value);
            self.b.set(result, value);
            self.b.jump(end);
        }
        self.b.seal(end);
        self.b.switch_to(end);
        Ok(self.b.get(result))
    }

    fn ternary(&mut self, condition: &Expr, then: &Expr, otherwise: &Expr) -> R<Value> {
        let result = self.b.var();
        let (yes, no, end) = self.fork(condition)?;
        for (block, e) in [(yes, then), (no, otherwise)] {
            self.b.switch_to(block);
            let value = self.scalar(e)?;
            self.b.set(result, value);
            self.b.jump(end);
        }
        self.b.seal(end);
        self.b.switch_to(end);
        Ok(self.b.get(result))
    }

    /// A place that holds the value, which may be the variable's own.
    pub(super) fn memory(&mut self, e: &Expr) -> R<Own> {
        match &e.kind {
            ExprKind::Str(bytes) => {
                let Type::Str { size } = e.ty else { return internal("a text of another type", e.span) };
                Ok(self.constant_text(bytes, size))
            }
            ExprKind::Bytes(bytes) => {
                let at = self.cx.rodata.constant(bytes);
                Ok(Own::new(self.b.rodata(at)))
            }
            ExprKind::Start(slot) => self.start_memory(*slot, e.span),
            ExprKind::Local(id) => self.local_memory(*id, e.span),
            ExprKind::Block { body, value } => {
                self.block(body)?;
                self.memory(value)
            }
            ExprKind::TupleElement { .. } | ExprKind::Field { .. } | ExprKind::Element { .. } => {
                let lvalue = self.lvalue(e)?;
                match lvalue.loc {
                    Loc::Own(place) => Ok(place),
                    _ => {
                        let to = self.temp_for(e);
                        self.fetch(lvalue, &e.ty, to, Fill::Loose, e.span)?;
                        Ok(to)
                    }
                }
            }
            _ => {
                let to = self.temp_for(e);
                self.into(e, to, Fill::Loose)?;
                Ok(to)
            }
        }
    }

    /// Memory for an expression's value.
    pub(super) fn temp_for(&mut self, e: &Expr) -> Own {
        let size = self.size_of(&e.ty);
        self.temp("value", size)
    }

    /// Writes the value of an expression of any type to a place.
    pub(super) fn into(&mut self, e: &Expr, to: Own, fill: Fill) -> R<()> {
        let outer = std::mem::replace(&mut self.span, e.span);
        let done = self.evaluate_into(e, to, fill);
        self.span = outer;
        done
    }

    fn evaluate_into(&mut self, e: &Expr, to: Own, fill: Fill) -> R<()> {
        use ExprKind::*;
        if e.ty.is_scalar() {
            let value = self.scalar(e)?;
            self.store_scalar(to, &e.ty, value);
            return Ok(());
        }
        match &e.kind {
            Zero => {
                let size = self.size_of(&e.ty);
                self.zero(to, size);
                Ok(())
            }
            Str(bytes) => self.text_into(bytes, &e.ty, to, fill),
            Bytes(bytes) => {
                self.store_bytes(to, bytes);
                Ok(())
            }
            Start(_) | Local(_) => {
                let from = self.memory(e)?;
                self.copy_value(from, &e.ty, to, fill)
            }
            MapRead { map, key } => self.map_read_into(*map, key, e, to, fill),
            Ternary { condition, then, otherwise } => {
                let (yes, no, end) = self.fork(condition)?;
                for (block, arm) in [(yes, then), (no, otherwise)] {
                    self.b.switch_to(block);
                    self.into(arm, to, fill)?;
                    self.b.jump(end);
                }
                self.b.seal(end);
                self.b.switch_to(end);
                Ok(())
            }
            Convert(x) => self.convert_into(x, &e.ty, to, fill, e.span),
            Dereference(_) | Field { .. } | Element { .. } | TupleElement { .. } | TracepointField(_) => {
                let lvalue = self.lvalue(e)?;
                self.fetch(lvalue, &e.ty, to, fill, e.span)
            }
            Tuple { elements, evaluation } => self.tuple_into(elements, evaluation, e, to, fill),
            Intrinsic { which, args } => self.intrinsic_into(which, args, e, to, fill),
            Block { body, value } => {
                self.block(body)?;
                self.into(value, to, fill)
            }
            _ => unsupported("a value of this type here", e.span),
        }
    }

    fn tuple_into(&mut self, elements: &[Expr], evaluation: &[u32], e: &Expr, to: Own, fill: Fill) -> R<()> {
        let layouts: Vec<_> = elements.iter().map(|x| self.cx.layouts.of(&x.ty)).collect();
        let (offsets, size) = fields_layout(layouts.iter());
        let covered: u32 = layouts.iter().map(|l| l.size()).sum();
        if fill == Fill::Exact && covered != size {
            self.zero(to, size);
        }
        let natural: Vec<u32> = (0..elements.len() as u32).collect();
        let order = if evaluation.len() == elements.len() { evaluation } else { &natural };
        for &i in order {
            let Some(x) = elements.get(i as usize) else { return internal("evaluation order", e.span) };
            self.into(x, to.at(offsets[i as usize]), fill)?;
        }
        Ok(())
    }

    fn start_scalar(&mut self, id: SlotId, span: Span) -> R<Value> {
        match self.cx.program.slots.get(id.0 as usize) {
            Some(slot) => Ok(self.start_value(slot.value.clone())),
            None => internal("unknown start value", span),
        }
    }

    fn start_memory(&mut self, id: SlotId, span: Span) -> R<Own> {
        let Some(slot) = self.cx.program.slots.get(id.0 as usize) else {
            return internal("unknown start value", span);
        };
        let (value, size): (StartValue, u32) = (slot.value.clone(), self.cx.layouts.of(&slot.ty).size());
        let at = self.cx.rodata.slot(value, size);
        Ok(Own::new(self.b.rodata(at)))
    }

    fn local_scalar(&mut self, id: LocalId, e: &Expr) -> R<Value> {
        match self.locals.get(&id) {
            Some(&Home::Register(var)) => Ok(self.b.get(var)),
            Some(&Home::Memory(place)) => Ok(self.load_scalar(place, &e.ty)),
            None => internal("unknown variable", e.span),
        }
    }

    /// The memory of a variable that lives there.
    pub(super) fn local_memory(&mut self, id: LocalId, span: Span) -> R<Own> {
        match self.locals.get(&id) {
            Some(&Home::Memory(place)) => Ok(place),
            _ => internal("address of a variable in a register", span),
        }
    }

    /// Assigns a scalar to a variable.
    pub(super) fn set_local(&mut self, id: LocalId, ty: &Type, value: Value, span: Span) -> R<()> {
        match self.locals.get(&id) {
            Some(&Home::Register(var)) => self.b.set(var, value),
            Some(&Home::Memory(place)) => self.store_scalar(place, ty, value),
            None => return internal("unknown variable", span),
        }
        Ok(())
    }

    fn increment(&mut self, place: &Place, decrement: bool, prefix: bool, used: bool, e: &Expr) -> R<Value> {
        let step = match &e.ty {
            Type::Pointer { to, .. } => self.pointee_size(to, e.span)?,
            _ => self.b.iconst(1),
        };
        let op = if decrement { BinaryOp::Subtract } else { BinaryOp::Add };
        let (old, new) = match place {
            Place::Local(id) => {
                let old = match self.locals.get(id) {
                    Some(&Home::Register(var)) => self.b.get(var),
                    Some(&Home::Memory(place)) => self.load_scalar(place, &e.ty),
                    None => return internal("unknown variable", e.span),
                };
                let new = self.arithmetic(op, old, step, &e.ty);
                self.set_local(*id, &e.ty, new, e.span)?;
                (old, new)
            }
            Place::Map { map, key } => self.map_increment(*map, key, op, step, used, &e.ty)?,
        };
        Ok(if prefix { new } else { old })
    }

    fn enumerator(&mut self, ctype: CTypeId, name: &str, value: i64, e: &Expr) -> R<Value> {
        let id = self.cx.types.resolve(ctype);
        let position = match &self.cx.types.get(id).kind {
            CKind::Enum(c) if c.name.is_some() => c.values.iter().position(|(n, _)| &**n == name),
            _ => None,
        };
        // Anonymous enumerations cannot be found on the target: their values are ABI.
        let Some(i) = position else { return Ok(self.b.iconst(value)) };
        let path = [Step::Member(i as u32)];
        let symbol = self.cx.relocation(CoreKind::EnumvalValue, ctype, &path, e.span)?;
        let value = self.b.symbol(symbol);
        Ok(self.wrap(value, &e.ty))
    }

    /// Size of a kernel type on the target.
    pub(super) fn kernel_size(&mut self, ctype: CTypeId, span: Span) -> R<Value> {
        if !self.cx.types.is_kernel(ctype) {
            let size = self.cx.types.size_of(ctype).unwrap_or(1);
            return Ok(self.b.iconst(size as i64));
        }
        let symbol = self.cx.relocation(CoreKind::TypeSize, ctype, &[], span)?;
        Ok(self.b.symbol(symbol))
    }

    fn kernel_offset(&mut self, root: CTypeId, path: &[FieldPath], span: Span) -> R<Value> {
        if !self.cx.types.is_kernel(root) {
            let bits: u32 = path.iter().map(|f| f.bit_offset).sum();
            return Ok(self.b.iconst(i64::from(bits / 8)));
        }
        let steps: Vec<Step> = path.iter().flat_map(|f| f.indices.iter().map(|&i| Step::Member(i))).collect();
        let symbol = self.cx.relocation(CoreKind::FieldByteOffset, root, &steps, span)?;
        Ok(self.b.symbol(symbol))
    }

    /// Bytes of what a pointer points to.
    pub(super) fn pointee_size(&mut self, to: &Type, span: Span) -> R<Value> {
        match to {
            Type::Void => Ok(self.b.iconst(1)),
            Type::Struct { ctype } => self.kernel_size(*ctype, span),
            Type::Array { elem, len } => {
                let (one, len) = (self.pointee_size(elem, span)?, self.b.iconst(i64::from(*len)));
                Ok(self.b.mul(one, len))
            }
            other => {
                let size = self.size_of(other);
                Ok(self.b.iconst(i64::from(size.max(1))))
            }
        }
    }

    fn pointer_offset(&mut self, pointer: &Expr, count: &Expr, span: Span) -> R<Value> {
        let Type::Pointer { to, .. } = &pointer.ty else { return internal("offset of no pointer", span) };
        let (p, n) = (self.scalar(pointer)?, self.scalar(count)?);
        let size = self.pointee_size(to, span)?;
        let bytes = if self.b.as_const(size) == Some(1) { n } else { self.b.mul(n, size) };
        Ok(self.b.add(p, bytes))
    }

    fn pointer_difference(&mut self, left: &Expr, right: &Expr, span: Span) -> R<Value> {
        let Type::Pointer { to, .. } = &left.ty else { return internal("difference of no pointers", span) };
        let (a, b) = (self.scalar(left)?, self.scalar(right)?);
        let size = self.pointee_size(to, span)?;
        let bytes = self.b.sub(a, b);
        Ok(if self.b.as_const(size) == Some(1) { bytes } else { self.b.sdiv(bytes, size) })
    }

    /// The symbol's value as an operand that selection can fold.
    pub(super) fn symbol_at(&mut self, symbol: Symbol) -> Value {
        self.b.symbol(symbol)
    }
}

/// `&&` or `||`?
pub(super) fn is_logical(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::LogicalAnd | BinaryOp::LogicalOr)
}

/// The comparison that an operator makes.
pub(super) fn comparison(op: BinaryOp, signed: bool) -> Option<Cmp> {
    Some(match (op, signed) {
        (BinaryOp::Equal, _) => Cmp::Eq,
        (BinaryOp::NotEqual, _) => Cmp::Ne,
        (BinaryOp::Less, false) => Cmp::Ult,
        (BinaryOp::Less, true) => Cmp::Slt,
        (BinaryOp::LessEqual, false) => Cmp::Ule,
        (BinaryOp::LessEqual, true) => Cmp::Sle,
        (BinaryOp::Greater, false) => Cmp::Ugt,
        (BinaryOp::Greater, true) => Cmp::Sgt,
        (BinaryOp::GreaterEqual, false) => Cmp::Uge,
        (BinaryOp::GreaterEqual, true) => Cmp::Sge,
        _ => return None,
    })
}
