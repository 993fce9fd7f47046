//! What an instruction takes into itself: immediates, addresses, comparisons.

use cranelift_codegen::ir::condcodes::{CondCode, IntCC};
use cranelift_codegen::ir::{InstructionData, Opcode, StackSlot, Value};
use regalloc2::{Operand, VReg};

use crate::bpf::insn::JmpOp;
use crate::bpf::value::{constant_of, symbol_of};
use crate::bpf::vcode::{Base, Mem, Src, Test};
use crate::clif::{Symbol, SymbolId, Width};

use super::Isel;

impl Isel<'_> {
    pub(super) fn bits(&self, value: Value) -> u32 {
        self.func.dfg.value_type(value).bits()
    }

    pub(super) fn constant(&self, value: Value) -> Option<i64> {
        constant_of(&self.func.dfg, value)
    }

    /// `value` as an immediate of an operation on its type.
    pub(super) fn immediate(&self, value: Value) -> Option<i32> {
        let constant = self.constant(value)?;
        match self.bits(value) {
            64 => i32::try_from(constant).ok(),
            _ => Some(constant as u32 as i32),
        }
    }

    /// `value` as an immediate that the loader patches.
    pub(super) fn patched_immediate(&self, value: Value) -> Option<(SymbolId, i32)> {
        let (_, id) = symbol_of(self.func, value)?;
        let local = match self.symbols.get(id)? {
            Symbol::Core { local, wide: false, .. } | Symbol::Ctx { local, .. } => local,
            _ => return None,
        };
        Some((id, i32::try_from(local).ok()?))
    }

    /// The right-hand side of an arithmetic operation and its operand.
    pub(super) fn rhs(&mut self, value: Value) -> (Src, Option<VReg>) {
        if let Some(imm) = self.immediate(value) {
            return (Src::Imm(imm), None);
        }
        if let Some((symbol, imm)) = self.patched_immediate(value) {
            return (Src::Symbol(symbol, imm), None);
        }
        (Src::Reg, Some(self.reg(value)))
    }

    /// The memory operand for an access at `address + offset`, and its base.
    pub(super) fn mem(&mut self, address: Value, offset: i32, width: Width) -> (Mem, Option<VReg>) {
        let mut mem = Mem { base: Base::Reg, offset, symbol: None, width };
        let mut address = self.without_casts(address);
        loop {
            if let Some((inner, add)) = self.constant_offset(address)
                && let Some(sum) = add_offset(mem.offset, add)
            {
                (address, mem.offset) = (inner, sum);
            } else if let Some((base, symbol, local)) = self.symbolic_offset(address)
                && mem.symbol.is_none()
                && let Some(sum) = add_offset(mem.offset, i64::from(local))
            {
                // libbpf compares the offset with the local value of a CO-RE relocation
                // before it patches; the runtime moves offsets into the context, and the
                // verifier wants the whole of those in the access.
                let exact = !matches!(self.symbols.get(symbol), Some(Symbol::Ctx { .. }));
                if exact && mem.offset != 0 {
                    break;
                }
                (address, mem.offset, mem.symbol) = (base, sum, Some(symbol));
                if exact {
                    return (mem, Some(self.reg(address)));
                }
            } else {
                break;
            }
        }
        if mem.symbol.is_none()
            && let Some(InstructionData::StackAddr { stack_slot, offset, .. }) = self.def(address)
            && let Some(sum) = add_offset(mem.offset, i64::from(i32::from(offset)))
        {
            mem.base = Base::Slot(stack_slot);
            mem.offset = sum;
            return (mem, None);
        }
        if i16::try_from(mem.offset).is_err() {
            return self.far_mem(address, mem);
        }
        (mem, Some(self.reg(address)))
    }

    /// An access whose offset does not fit the instruction.
    fn far_mem(&mut self, address: Value, mem: Mem) -> (Mem, Option<VReg>) {
        let base = self.reg(address);
        let sum = self.add_before(base, mem.offset);
        (Mem { offset: 0, ..mem }, Some(sum))
    }

    /// The place in the stack frame that `value` is the address of.
    pub(super) fn slot_address(&self, value: Value) -> Option<(StackSlot, i32)> {
        let (mut value, mut total) = (self.func.dfg.resolve_aliases(value), 0);
        while let Some((inner, add)) = self.constant_offset(value) {
            total = add_offset(total, add)?;
            value = inner;
        }
        match self.def(value)? {
            InstructionData::StackAddr { stack_slot, offset, .. } => {
                Some((stack_slot, add_offset(total, i64::from(i32::from(offset)))?))
            }
            _ => None,
        }
    }

    fn constant_offset(&self, address: Value) -> Option<(Value, i64)> {
        let InstructionData::Binary { opcode, args: [x, y] } = self.def(address)? else {
            return None;
        };
        let dfg = &self.func.dfg;
        match (opcode, self.constant(x), self.constant(y)) {
            (Opcode::Iadd, _, Some(add)) => Some((dfg.resolve_aliases(x), add)),
            (Opcode::Iadd, Some(add), None) => Some((dfg.resolve_aliases(y), add)),
            (Opcode::Isub, None, Some(sub)) => Some((dfg.resolve_aliases(x), sub.wrapping_neg())),
            _ => None,
        }
    }

    fn symbolic_offset(&self, address: Value) -> Option<(Value, SymbolId, i32)> {
        let InstructionData::Binary { opcode: Opcode::Iadd, args: [x, y] } = self.def(address)? else {
            return None;
        };
        let (base, (symbol, local)) = match self.patched_immediate(y) {
            Some(symbol) => (x, symbol),
            None => (y, self.patched_immediate(x)?),
        };
        i16::try_from(local).ok()?;
        Some((self.func.dfg.resolve_aliases(base), symbol, local))
    }

    /// The comparison that a condition comes down to, and its operands.
    pub(super) fn test(&mut self, cond: Value) -> (Test, Vec<Operand>) {
        let (cond, negate) = self.underlying_condition(cond);
        let (mut test, operands) = match self.def(cond) {
            Some(InstructionData::IntCompare { cond, args: [x, y], .. }) => self.compare(cond, x, y),
            _ => {
                let test = Test { op: JmpOp::Ne, wide: true, rhs: Src::Imm(0) };
                (test, vec![Operand::reg_use(self.reg(cond))])
            }
        };
        if negate {
            test.op = test.op.negated();
        }
        (test, operands)
    }

    /// Strips conversions and comparisons with zero from a condition that is
    /// a comparison below; the flag says whether its sense is turned around.
    fn underlying_condition(&self, cond: Value) -> (Value, bool) {
        let (mut found, mut negate) = (self.func.dfg.resolve_aliases(cond), false);
        let (mut value, mut flipped) = (found, false);
        loop {
            match self.def(value) {
                Some(InstructionData::IntCompare { cond, args: [x, y], .. }) => {
                    (found, negate) = (value, flipped);
                    if self.constant(y) != Some(0) {
                        return (found, negate);
                    }
                    match cond {
                        IntCC::Equal => flipped = !flipped,
                        IntCC::NotEqual => {}
                        _ => return (found, negate),
                    }
                    value = self.func.dfg.resolve_aliases(x);
                }
                // The value below is a comparison, 0 or 1, or we return what
                // was found above.
                Some(InstructionData::Unary { opcode: Opcode::Uextend | Opcode::Ireduce, arg }) => {
                    value = self.func.dfg.resolve_aliases(arg);
                }
                _ => return (found, negate),
            }
        }
    }

    fn compare(&mut self, cond: IntCC, x: Value, y: Value) -> (Test, Vec<Operand>) {
        let (cond, x, y) = match (self.immediate(x), self.immediate(y)) {
            (Some(_), None) => (cond.swap_args(), y, x),
            _ => (cond, x, y),
        };
        let signed = cond != cond.unsigned();
        let imm = self.immediate(y);
        // 32-bit values are zero-extended, so that most comparisons may as well
        // look at the whole register, whose bounds old verifiers track better.
        let wide = self.bits(x) == 64 || (!signed && imm.is_none_or(|imm| imm >= 0));
        let mut operands = vec![Operand::reg_use(self.reg(x))];
        let rhs = match imm {
            Some(imm) => Src::Imm(imm),
            None => {
                operands.push(Operand::reg_use(self.reg(y)));
                Src::Reg
            }
        };
        (Test { op: jump_op(cond), wide, rhs }, operands)
    }
}

/// The sum of two displacements if an instruction can hold it.
fn add_offset(offset: i32, add: i64) -> Option<i32> {
    let sum = i64::from(offset).checked_add(add)?;
    i16::try_from(sum).ok().map(i32::from)
}

fn jump_op(cond: IntCC) -> JmpOp {
    match cond {
        IntCC::Equal => JmpOp::Eq,
        IntCC::NotEqual => JmpOp::Ne,
        IntCC::UnsignedLessThan => JmpOp::Lt,
        IntCC::UnsignedLessThanOrEqual => JmpOp::Le,
        IntCC::UnsignedGreaterThan => JmpOp::Gt,
        IntCC::UnsignedGreaterThanOrEqual => JmpOp::Ge,
        IntCC::SignedLessThan => JmpOp::Slt,
        IntCC::SignedLessThanOrEqual => JmpOp::Sle,
        IntCC::SignedGreaterThan => JmpOp::Sgt,
        IntCC::SignedGreaterThanOrEqual => JmpOp::Sge,
    }
}
