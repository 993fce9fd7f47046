//! Access to memory: kernel, user, context, the program's own.
//!
//! In: lvalue expressions. Out: loads, or reads by helpers. Invariants: what the
//! kernel's layout decides is a CO-RE relocation, one for a whole chain of
//! fields; the context is loaded at constant offsets only; a pointer into BPF
//! memory is followed only behind a test for null.

use btc_payload::layout::ValueType;
use btc_payload::manifest::{DATA_LOC, Operand, REL_LOC};

use super::frame::Own;
use super::function::Fun;
use super::layout::storage_unit;
use super::memory::{Fill, width};
use super::{R, internal, unsupported};
use crate::btf::core::{CoreKind, Step};
use crate::clif::{Cmp, Mem, Ptr, Value};
use crate::ctypes::{CKind, CTypeId};
use crate::helper::Helper;
use crate::hir::tree::{Expr, ExprKind, ProgramKind, TracepointField};
use crate::hir::types::{Space, Type};
use crate::span::Span;

/// Elements of an array without a length that an index reaches in the context.
const MAX_FLEXIBLE: u32 = 1 << 12;

/// Where an lvalue lies.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loc {
    /// Memory of the program's own.
    Own(Own),
    /// The same behind a pointer that may be null, with its known alignment.
    Guarded(Value, u32),
    /// Kernel or user memory: read by a helper.
    Far { address: Value, space: Space },
    /// The context.
    Context(Ptr),
}

/// Which bits of the place are meant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bits {
    /// Lowest bit and width within a storage unit of `size` bytes.
    Fixed { size: u32, low: u8, width: u8 },
    /// As the target's BTF says: size of the unit to read, shifts to the top and down.
    Relocated { size: Value, left: Value, right: Value },
}

/// A place to read from.
#[derive(Clone, Copy, Debug)]
pub(super) struct LValue {
    pub(super) loc: Loc,
    pub(super) bits: Option<Bits>,
}

impl LValue {
    fn plain(loc: Loc) -> LValue {
        LValue { loc, bits: None }
    }
}

impl Fun<'_, '_, '_> {
    /// The place of an lvalue; other values in memory are evaluated to one.
    pub(super) fn lvalue(&mut self, e: &Expr) -> R<LValue> {
        match &e.kind {
            ExprKind::Dereference(p) => self.pointee(p).map(LValue::plain),
            ExprKind::Field { .. } => self.field(e),
            ExprKind::Element { base, index } => self.element(base, index, e).map(LValue::plain),
            ExprKind::TupleElement { base, index } => {
                let place = self.memory(base)?;
                let Some(at) = element_offset(&self.cx.layouts.of(&base.ty), *index) else {
                    return internal("element of no tuple", e.span);
                };
                Ok(LValue::plain(Loc::Own(place.at(at))))
            }
            ExprKind::TracepointField(field) => self.tracepoint_field(field, &e.ty).map(LValue::plain),
            _ => self.memory(e).map(|place| LValue::plain(Loc::Own(place))),
        }
    }

    fn pointee(&mut self, p: &Expr) -> R<Loc> {
        let Type::Pointer { space, .. } = &p.ty else { return internal("dereference of no pointer", p.span) };
        match (space, &uncast(p).kind) {
            (_, ExprKind::AddressOfLocal(id)) => Ok(Loc::Own(self.local_memory(*id, p.span)?)),
            (Space::Context, ExprKind::Context) => Ok(Loc::Context(self.context)),
            (Space::Context, _) => {
                let address = self.scalar(p)?;
                Ok(Loc::Far { address, space: Space::Kernel })
            }
            (Space::Bpf, _) => Ok(Loc::Guarded(self.scalar(p)?, 8)),
            (space, _) => {
                let space = *space;
                Ok(Loc::Far { address: self.scalar(p)?, space })
            }
        }
    }

    /// A chain of fields (and constant elements) down to the struct it starts from.
    fn field(&mut self, e: &Expr) -> R<LValue> {
        let (mut chain, mut root) = (Vec::new(), e);
        loop {
            match &root.kind {
                ExprKind::Field { base, .. } => {
                    chain.push(root);
                    root = base;
                }
                ExprKind::Element { base, index } if constant(index).is_some() => {
                    chain.push(root);
                    root = base;
                }
                _ => break,
            }
        }
        // A chain starts at a struct: elements before the first field belong to the root.
        while let Some(ExprKind::Element { .. }) = chain.last().map(|x| &x.kind) {
            root = chain.pop().unwrap_or(root);
        }
        chain.reverse();
        let Type::Struct { ctype } = root.ty else { return internal("field of no struct", e.span) };
        let base = self.lvalue(root)?;
        let relocated = self.cx.types.is_kernel(ctype) && matches!(base.loc, Loc::Far { .. } | Loc::Context(_));
        if relocated {
            return self.kernel_field(base.loc, ctype, &chain, e.span);
        }
        self.fixed_field(base.loc, &chain, e.span)
    }

    fn kernel_field(&mut self, base: Loc, root: CTypeId, chain: &[&Expr], span: Span) -> R<LValue> {
        let (mut path, mut bit_field) = (Vec::new(), false);
        for step in chain {
            match &step.kind {
                ExprKind::Field { field, .. } => {
                    path.extend(field.indices.iter().map(|&i| Step::Member(i)));
                    bit_field = field.bit_width.is_some();
                }
                ExprKind::Element { index, .. } => {
                    path.push(Step::Index(constant(index).unwrap_or(0) as u32));
                    bit_field = false;
                }
                _ => return internal("chain of fields", span),
            }
        }
        let offset = self.cx.relocation(CoreKind::FieldByteOffset, root, &path, span)?;
        let loc = match base {
            Loc::Far { address, space } => {
                let offset = self.symbol_at(offset);
                Loc::Far { address: self.b.add(address, offset), space }
            }
            Loc::Context(ptr) => Loc::Context(self.b.field(ptr, offset)),
            _ => return internal("relocation in own memory", span),
        };
        if !bit_field {
            return Ok(LValue::plain(loc));
        }
        let part = |f: &mut Self, kind| -> R<Value> {
            let symbol = f.cx.relocation(kind, root, &path, span)?;
            Ok(f.symbol_at(symbol))
        };
        let size = part(self, CoreKind::FieldByteSize)?;
        let left = part(self, CoreKind::FieldLshiftU64)?;
        let right = part(self, CoreKind::FieldRshiftU64)?;
        Ok(LValue { loc, bits: Some(Bits::Relocated { size, left, right }) })
    }

    fn fixed_field(&mut self, base: Loc, chain: &[&Expr], span: Span) -> R<LValue> {
        let (mut bit_offset, mut bits) = (0u32, None);
        for step in chain {
            bits = None;
            match &step.kind {
                ExprKind::Field { field, .. } => {
                    bit_offset += field.bit_offset;
                    bits = field.bit_width;
                }
                ExprKind::Element { index, .. } => {
                    let size = self.size_of(&step.ty);
                    bit_offset += size * 8 * constant(index).unwrap_or(0) as u32;
                }
                _ => return internal("chain of fields", span),
            }
        }
        let Some(width) = bits else { return Ok(LValue::plain(self.moved(base, bit_offset / 8))) };
        let size = chain.last().map_or(8, |x| u32::from(x.ty.scalar_width().0)).max(1);
        let (offset, low) = storage_unit(bit_offset, size);
        let loc = self.moved(base, offset);
        Ok(LValue { loc, bits: Some(Bits::Fixed { size, low, width }) })
    }

    /// A place a constant number of bytes further on.
    fn moved(&mut self, base: Loc, bytes: u32) -> Loc {
        match base {
            Loc::Own(place) => Loc::Own(place.at(bytes)),
            Loc::Context(ptr) => Loc::Context(ptr.at(bytes as i32)),
            _ if bytes == 0 => base,
            Loc::Far { address, space } => {
                let bytes = self.b.iconst(i64::from(bytes));
                Loc::Far { address: self.b.add(address, bytes), space }
            }
            Loc::Guarded(address, align) => {
                let align = align.min(1 << bytes.trailing_zeros().min(3));
                // The null test must see the pointer itself.
                let (moved, zero) = (self.b.var(), self.b.iconst(0));
                self.b.set(moved, zero);
                let present = self.b.nonzero(address);
                let open = self.b.begin_if(present);
                let bytes = self.b.iconst(i64::from(bytes));
                let sum = self.b.add(address, bytes);
                self.b.set(moved, sum);
                self.b.end_if(open);
                Loc::Guarded(self.b.get(moved), align)
            }
        }
    }

    fn element(&mut self, base: &Expr, index: &Expr, e: &Expr) -> R<Loc> {
        let len = match &base.ty {
            Type::Array { len, .. } | Type::CharArray { len } => *len,
            _ => return internal("element of no array", e.span),
        };
        let array = self.lvalue(base)?.loc;
        let step = self.size_of(&e.ty);
        let kernel_elements = match &e.ty {
            Type::Struct { ctype } if self.cx.types.is_kernel(*ctype) => Some(*ctype),
            _ => None,
        };
        if let (Some(i), None) = (constant(index), kernel_elements) {
            return Ok(self.moved(array, step * i as u32));
        }
        let i = self.scalar(index)?;
        if len > 0 {
            self.check_index(i, len);
        }
        match array {
            Loc::Own(place) => {
                let i = self.clamp(i, len);
                let size = self.b.iconst(i64::from(step));
                let bytes = self.b.mul(i, size);
                let ptr = self.b.index(place.ptr, bytes);
                Ok(Loc::Own(place.moved(ptr, step.max(1))))
            }
            Loc::Far { address, space } => {
                let size = self.pointee_size(&e.ty, e.span)?;
                let bytes = self.b.mul(i, size);
                Ok(Loc::Far { address: self.b.add(address, bytes), space })
            }
            Loc::Context(ptr) => {
                // No loads at variable offsets into the context: read it as kernel memory.
                // The address is a pointer to the verifier, which wants bounds for the sum.
                let (start, size) = (self.b.address(ptr), self.pointee_size(&e.ty, e.span)?);
                let i = self.clamp(i, if len > 0 { len } else { MAX_FLEXIBLE });
                let bytes = self.b.mul(i, size);
                Ok(Loc::Far { address: self.b.add(start, bytes), space: Space::Kernel })
            }
            Loc::Guarded(..) if len == 0 => {
                unsupported("a variable index into a flexible array behind this pointer", e.span)
            }
            Loc::Guarded(address, _) => {
                // The pointer may lead to the stack, which kernels before 5.12 load at
                // constant offsets only: the helper reads it. Null stays null, and gives zeros.
                let i = self.clamp(i, len);
                let size = self.b.iconst(i64::from(step));
                let bytes = self.b.mul(i, size);
                let (moved, zero) = (self.b.var(), self.b.iconst(0));
                self.b.set(moved, zero);
                let present = self.b.nonzero(address);
                let open = self.b.begin_if(present);
                let sum = self.b.add(address, bytes);
                self.b.set(moved, sum);
                self.b.end_if(open);
                Ok(Loc::Far { address: self.b.get(moved), space: Space::Kernel })
            }
        }
    }

    /// A field of the tracepoint's record.
    fn tracepoint_field(&mut self, field: &TracepointField, ty: &Type) -> R<Loc> {
        let place = match (field.data_loc, field.relative) {
            (_, true) => REL_LOC,
            (true, _) => DATA_LOC,
            _ => 0,
        };
        let read = if place != 0 { 4 } else { ty_read_size(ty) };
        let operand = Operand::TracepointField { field: field.name.clone(), size: read };
        let symbol = self.cx.operand(operand, field.offset);
        // A text that is an array of one kernel is dynamic on another
        // (`sched_process_fork`, Linux 6.16): both ways are there, and the target chooses.
        match ty {
            Type::CharArray { .. } => {}
            _ if place != 0 => {}
            _ => return Ok(Loc::Context(self.b.field(self.context, symbol))),
        }
        let at = self.symbol_at(symbol);
        let chosen = self.cx.operand(Operand::TracepointPlace { field: field.name.clone() }, place);
        let chosen = self.symbol_at(chosen);
        let offset = self.b.var();
        self.b.set(offset, at);
        let dynamic = self.b.nonzero(chosen);
        let open = self.b.begin_if(dynamic);
        let word = self.b.field(self.context, symbol);
        let word = self.b.load(word, width(4));
        let mask = self.b.iconst(0xffff);
        let data = self.b.and(word, mask);
        self.b.set(offset, data);
        let relative = self.b.compare_const(Cmp::Eq, chosen, i64::from(REL_LOC));
        let counted = self.b.begin_if(relative);
        let four = self.b.iconst(4);
        let end = self.b.add(at, four);
        let data = self.b.add(data, end);
        self.b.set(offset, data);
        self.b.end_if(counted);
        self.b.end_if(open);
        let (start, offset) = (self.b.address(self.context), self.b.get(offset));
        Ok(Loc::Far { address: self.b.add(start, offset), space: Space::Kernel })
    }

    /// Argument of a traced function, by its name on the target.
    pub(super) fn argument(&mut self, name: &str, position: u32, ty: &Type) -> Value {
        let symbol = self.cx.operand(Operand::Argument { name: name.to_owned() }, position * 8);
        let place = self.b.field(self.context, symbol);
        let value = self.b.load(place, width(8));
        // The upper bits of narrow arguments are undefined in the ABI.
        self.wrap(value, ty)
    }

    /// Return value of a traced function.
    pub(super) fn return_value(&mut self, position: u32, ty: &Type) -> Value {
        let symbol = self.cx.operand(Operand::ReturnValue, position * 8);
        let place = self.b.field(self.context, symbol);
        let value = self.b.load(place, width(8));
        self.wrap(value, ty)
    }

    /// Do pointers in this program carry types that the verifier tracks? Then
    /// it refuses arithmetic on them as integers.
    pub(super) fn has_typed_pointers(&self) -> bool {
        matches!(self.probe.kind, ProgramKind::Fentry | ProgramKind::Fexit | ProgramKind::Iter)
    }

    /// Reads a scalar.
    pub(super) fn read_scalar(&mut self, from: LValue, ty: &Type) -> R<Value> {
        let (size, signed) = ty.scalar_width();
        if let Some(bits) = from.bits {
            return self.read_bits(from.loc, bits);
        }
        let size = u32::from(size);
        Ok(match from.loc {
            Loc::Own(place) => self.load_number(place, size, signed),
            // A pointer in an iterator's context may be null, and the verifier refuses
            // arithmetic on it before a test. Read as kernel memory it is a number.
            Loc::Context(ptr) if self.probe.kind == ProgramKind::Iter && matches!(ty, Type::Pointer { .. }) => {
                let mark = self.mark();
                let (buffer, address) = (self.stack("pointer", 8), self.b.address(ptr));
                self.read_kernel(buffer, 8, address);
                let value = self.b.load(buffer.ptr, width(8));
                self.release(mark);
                value
            }
            Loc::Context(ptr) if signed => self.b.load_signed(ptr, width(size)),
            Loc::Context(ptr) => self.b.load(ptr, width(size)),
            Loc::Guarded(address, align) => self.read_guarded((address, align), size, signed),
            Loc::Far { address, space: Space::Kernel } if self.typed && matches!(ty, Type::Pointer { .. }) => {
                let ptr = self.b.pointer(Mem::Btf, address);
                self.b.load(ptr, width(8))
            }
            Loc::Far { address, space } => {
                let mark = self.mark();
                let buffer = self.stack("read", 8);
                let bytes = self.b.iconst(i64::from(size));
                self.read_far(buffer, bytes, address, space);
                let value = self.load_number(buffer, size, signed);
                self.release(mark);
                value
            }
        })
    }

    fn read_guarded(&mut self, (address, align): (Value, u32), size: u32, signed: bool) -> Value {
        let (result, zero) = (self.b.var(), self.b.iconst(0));
        self.b.set(result, zero);
        let present = self.b.nonzero(address);
        let open = self.b.begin_if(present);
        let place = self.guarded_place(address, align);
        let value = self.load_number(place, size, signed);
        self.b.set(result, value);
        self.b.end_if(open);
        self.b.get(result)
    }

    /// Memory behind a pointer after its null test: the stack perhaps, so accesses are aligned.
    fn guarded_place(&mut self, address: Value, align: u32) -> Own {
        let ptr = self.b.pointer(Mem::Bpf, address);
        Own::on_stack(ptr).moved(ptr, align)
    }

    /// A bit-field, unsigned whatever its type is: the language gives them no sign.
    fn read_bits(&mut self, loc: Loc, bits: Bits) -> R<Value> {
        let (raw, left, right) = match bits {
            Bits::Fixed { size, low, width } => {
                let unit = Type::Int { size: size as u8, signed: false };
                let raw = self.read_scalar(LValue::plain(loc), &unit)?;
                let left = self.b.iconst(64 - i64::from(low) - i64::from(width));
                (raw, left, self.b.iconst(64 - i64::from(width)))
            }
            Bits::Relocated { size, left, right } => {
                let Loc::Far { address, space } = loc else {
                    return unsupported("a bit-field of the context", self.span);
                };
                let mark = self.mark();
                let buffer = self.stack("bit-field", 8);
                self.b.store_const(buffer.ptr, width(8), 0);
                self.read_far(buffer, size, address, space);
                let raw = self.b.load(buffer.ptr, width(8));
                self.release(mark);
                (raw, left, right)
            }
        };
        let top = self.b.shl(raw, left);
        Ok(self.b.ushr(top, right))
    }

    /// Reads `size` bytes of other memory into the program's; zeros on a fault.
    pub(super) fn read_far(&mut self, to: Own, size: Value, from: Value, space: Space) -> Value {
        let to = self.b.address(to.ptr);
        self.by_space(from, space, Helper::ProbeReadKernel, Helper::ProbeReadUser, &[to, size])
    }

    /// Reads text of at most `size` bytes, NUL included; gives the length with NUL.
    pub(super) fn read_far_text(&mut self, to: Own, size: Value, from: Value, space: Space) -> Value {
        let to = self.b.address(to.ptr);
        self.by_space(from, space, Helper::ProbeReadKernelStr, Helper::ProbeReadUserStr, &[to, size])
    }

    fn by_space(&mut self, from: Value, space: Space, kernel: Helper, user: Helper, args: &[Value]) -> Value {
        let args = [args, &[from]].concat();
        match space {
            Space::User => self.checked_call(user, &args),
            Space::Any => {
                // Kernel addresses have their top bit set.
                let result = self.b.var();
                let high = self.b.compare_const(Cmp::Slt, from, 0);
                let mut open = self.b.begin_if(high);
                let got = self.checked_call(kernel, &args);
                self.b.set(result, got);
                self.b.begin_else(&mut open);
                let got = self.checked_call(user, &args);
                self.b.set(result, got);
                self.b.end_if(open);
                self.b.get(result)
            }
            _ => self.checked_call(kernel, &args),
        }
    }

    fn checked_call(&mut self, helper: Helper, args: &[Value]) -> Value {
        let got = self.b.call_helper(helper, args);
        self.check_helper(got, helper);
        got
    }

    /// Reads a value that is no scalar.
    pub(super) fn fetch(&mut self, from: LValue, ty: &Type, to: Own, fill: Fill, span: Span) -> R<()> {
        if ty.is_scalar() {
            let value = self.read_scalar(from, ty)?;
            self.store_scalar(to, ty, value);
            return Ok(());
        }
        let size = self.size_of(ty);
        match from.loc {
            Loc::Own(place) => self.copy_value(place, ty, to, fill),
            Loc::Guarded(address, align) => {
                let present = self.b.nonzero(address);
                let mut open = self.b.begin_if(present);
                let place = self.guarded_place(address, align);
                self.copy_value(place, ty, to, fill)?;
                self.b.begin_else(&mut open);
                self.zero(to, size);
                self.b.end_if(open);
                Ok(())
            }
            Loc::Context(ptr) => {
                // A copy of the context's bytes: the helper takes any address.
                let address = self.b.address(ptr);
                self.fetch_far(address, Space::Kernel, ty, to, fill, span)
            }
            Loc::Far { address, space } => self.fetch_far(address, space, ty, to, fill, span),
        }
    }

    fn fetch_far(&mut self, address: Value, space: Space, ty: &Type, to: Own, fill: Fill, span: Span) -> R<()> {
        let layout = self.cx.layouts.of(ty);
        match (ty, &layout) {
            (Type::Str { size }, _) => {
                self.text_from(address, space, None, *size, to, fill);
                Ok(())
            }
            (Type::Struct { ctype }, ValueType::Struct(s)) if self.cx.types.is_kernel(*ctype) => {
                self.zero(to, s.size);
                self.copy_members(address, space, *ctype, *ctype, &mut Vec::new(), (to, 0), span)
            }
            (Type::Array { elem, len }, _) if self.is_kernel_struct(elem) => {
                let step = self.size_of(elem);
                let far_step = self.pointee_size(elem, span)?;
                for i in 0..*len {
                    let n = self.b.iconst(i64::from(i));
                    let bytes = self.b.mul(far_step, n);
                    let from = self.b.add(address, bytes);
                    self.fetch_far(from, space, elem, to.at(i * step), fill, span)?;
                }
                Ok(())
            }
            _ => {
                let size = self.b.iconst(i64::from(layout.size()));
                self.read_far(to, size, address, space);
                Ok(())
            }
        }
    }

    fn is_kernel_struct(&self, ty: &Type) -> bool {
        match ty {
            Type::Struct { ctype } => self.cx.types.is_kernel(*ctype),
            Type::Array { elem, .. } => self.is_kernel_struct(elem),
            _ => false,
        }
    }

    /// Copies a kernel struct member by member to the layout of the reference.
    #[allow(clippy::too_many_arguments, reason = "a recursion over two parallel layouts")]
    fn copy_members(
        &mut self,
        address: Value,
        space: Space,
        root: CTypeId,
        at: CTypeId,
        path: &mut Vec<Step>,
        (to, bit_base): (Own, u32),
        span: Span,
    ) -> R<()> {
        let ty = self.cx.types.resolved(at);
        let CKind::Composite(c) = &ty.kind else { return Ok(()) };
        for (i, member) in c.members.iter().enumerate() {
            let bit_offset = bit_base + member.bit_offset;
            path.push(Step::Member(i as u32));
            let member_type = self.cx.types.resolved(member.ty);
            match &member_type.kind {
                // An anonymous union's members overlap: the largest covers all.
                CKind::Composite(inner) if !inner.union && !inner.members.is_empty() => {
                    self.copy_members(address, space, root, member.ty, path, (to, bit_offset), span)?;
                }
                _ => {
                    let place = LayoutOf { ty: member.ty, bit_offset, bit_width: member.bit_width };
                    self.copy_leaf(address, space, root, path, to, place, span)?;
                }
            }
            path.pop();
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "a recursion over two parallel layouts")]
    fn copy_leaf(
        &mut self,
        address: Value,
        space: Space,
        root: CTypeId,
        path: &[Step],
        to: Own,
        leaf: LayoutOf,
        span: Span,
    ) -> R<()> {
        let size = self.cx.types.size_of(leaf.ty).unwrap_or(0) as u32;
        if size == 0 || leaf.bit_width == Some(0) {
            return Ok(()); // flexible arrays and function types hold nothing
        }
        let offset = self.cx.relocation(CoreKind::FieldByteOffset, root, path, span)?;
        let offset = self.symbol_at(offset);
        let from = self.b.add(address, offset);
        if leaf.bit_width.is_none() {
            let bytes = self.b.iconst(i64::from(size));
            self.read_far(to.at(leaf.bit_offset / 8), bytes, from, space);
            return Ok(());
        }
        let part = |f: &mut Self, kind| -> R<Value> {
            let symbol = f.cx.relocation(kind, root, path, span)?;
            Ok(f.symbol_at(symbol))
        };
        let bits = Bits::Relocated {
            size: part(self, CoreKind::FieldByteSize)?,
            left: part(self, CoreKind::FieldLshiftU64)?,
            right: part(self, CoreKind::FieldRshiftU64)?,
        };
        let value = self.read_bits(Loc::Far { address: from, space }, bits)?;
        let (unit_offset, low) = storage_unit(leaf.bit_offset, size);
        let place = to.at(unit_offset);
        let low = self.b.iconst(i64::from(low));
        let shifted = self.b.shl(value, low);
        let old = self.load_number(place, size, false);
        let new = self.b.or(old, shifted);
        self.store_number(place, size, new);
        Ok(())
    }

    /// The address of an lvalue for functions that take one.
    pub(super) fn address_of(&mut self, e: &Expr) -> R<(Value, Space)> {
        let lvalue = self.lvalue(e)?;
        Ok(match lvalue.loc {
            Loc::Own(place) => (self.b.address(place.ptr), Space::Kernel),
            Loc::Guarded(address, _) => (address, Space::Kernel),
            Loc::Far { address, space } => (address, space),
            Loc::Context(ptr) => (self.b.address(ptr), Space::Kernel),
        })
    }

    /// A place in the context at a constant offset.
    pub(super) fn context_word(&mut self, offset: u32) -> Value {
        debug_assert_eq!(self.context.mem(), Mem::Ctx, "the context is loaded directly");
        let ptr = self.context.at(offset as i32);
        self.b.load(ptr, width(8))
    }
}

/// Where a member lies in the reference.
struct LayoutOf {
    ty: CTypeId,
    bit_offset: u32,
    bit_width: Option<u8>,
}

/// Bytes that a load of the field reads; 0 if only its address is taken.
fn ty_read_size(ty: &Type) -> u8 {
    if ty.is_scalar() { ty.scalar_width().0 } else { 0 }
}

/// The value of a constant index.
pub(super) fn constant(e: &Expr) -> Option<u64> {
    match e.kind {
        ExprKind::Const(v) if v <= u64::from(u32::MAX) => Some(v),
        _ => None,
    }
}

/// Offset of an element of a tuple or record.
fn element_offset(ty: &ValueType, index: u32) -> Option<u32> {
    let fields: Vec<&ValueType> = match ty {
        ValueType::Tuple(elems) => elems.iter().collect(),
        ValueType::Record(elems) => elems.iter().map(|(_, t)| t).collect(),
        _ => return None,
    };
    btc_payload::layout::fields_layout(fields.into_iter()).0.get(index as usize).copied()
}

/// A pointer without the casts around it: they change what is read, not where.
fn uncast(mut pointer: &Expr) -> &Expr {
    while let (ExprKind::Convert(inner), Type::Pointer { .. }) = (&pointer.kind, &pointer.ty)
        && matches!(inner.ty, Type::Pointer { .. })
    {
        pointer = inner;
    }
    pointer
}
