//! CLIF to CLIF: expands what BPF has no instruction for.
//!
//! Input: optimised CLIF of our dialect. Output: CLIF with only the opcodes
//! that selection knows. Afterwards
//!
//! * opaque constants are constants, for no rewrite rule runs any more;
//! * there is no signed division, rotation, minimum, high multiply, bit count;
//! * operations that look at all bits of a value (comparison, right shift,
//!   division) are 32 or 64 bits wide; those that do not (sum, product, bitwise,
//!   left shift) may stay narrow, with undefined bits above;
//! * conditions are comparisons or whole words.
//!
//! Each expansion may use opcodes that need expanding in turn: the walk goes on
//! at the first instruction an expansion inserted.

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{self, Inst, InstBuilder, InstructionData, MemFlagsData, Opcode, Type, Value};

use crate::clif::{Namespace, Symbol, SymbolTable};

use super::value::{constant_of, symbol_of};

/// Legalises a function in place; the error names what cannot be expanded.
pub(super) fn legalize(func: &mut ir::Function, symbols: &SymbolTable) -> Result<(), String> {
    let blocks: Vec<ir::Block> = func.layout.blocks().collect();
    for block in blocks {
        let mut next = func.layout.first_inst(block);
        while let Some(inst) = next {
            let before = func.layout.prev_inst(inst);
            let mut pass = Legalizer { pos: FuncCursor::new(func).at_inst(inst), symbols };
            pass.pos.set_srcloc(pass.pos.func.srcloc(inst));
            next = match pass.rewrite(inst)? {
                false => func.layout.next_inst(inst),
                true => match before {
                    Some(before) => func.layout.next_inst(before),
                    None => func.layout.first_inst(block),
                },
            };
        }
    }
    func.dfg.resolve_all_aliases();
    Ok(())
}

struct Legalizer<'a> {
    pos: FuncCursor<'a>,
    symbols: &'a SymbolTable,
}

impl Legalizer<'_> {
    /// Rewrites `inst` if it needs it; says whether anything changed.
    fn rewrite(&mut self, inst: Inst) -> Result<bool, String> {
        let data = self.pos.func.dfg.insts[inst];
        match data {
            InstructionData::UnaryGlobalValue { .. } => self.opaque(inst),
            InstructionData::Unary { opcode, arg } => self.unary(inst, opcode, arg),
            InstructionData::Binary { opcode, args } => self.binary(inst, opcode, args),
            InstructionData::IntCompare { cond, args, .. } => self.compare(inst, cond, args),
            InstructionData::Ternary { opcode: Opcode::SelectSpectreGuard, args } => {
                let value = self.pos.ins().select(args[0], args[1], args[2]);
                self.replace(inst, value)
            }
            InstructionData::Ternary { args, .. } => self.condition(inst, args[0]),
            InstructionData::Brif { arg, .. } => self.condition(inst, arg),
            InstructionData::Load { opcode, arg, flags, offset } if opcode != Opcode::Load => {
                let flags = self.pos.func.dfg.mem_flags[flags];
                self.extending_load(inst, opcode, flags, arg, offset.into())
            }
            InstructionData::Store { opcode, args, flags, offset } if opcode != Opcode::Store => {
                let flags = self.pos.func.dfg.mem_flags[flags];
                self.truncating_store(inst, opcode, flags, args, offset.into())
            }
            InstructionData::AtomicRmw { .. } | InstructionData::AtomicCas { .. } => self.check_atomic(inst),
            _ => Ok(false),
        }
    }

    /// Makes `value` the result of `inst`, which disappears.
    fn replace(&mut self, inst: Inst, value: Value) -> Result<bool, String> {
        let dfg = &mut self.pos.func.dfg;
        let result = dfg.first_result(inst);
        dfg.clear_results(inst);
        dfg.change_to_alias(result, value);
        self.pos.func.layout.remove_inst(inst);
        Ok(true)
    }

    fn ty(&self, value: Value) -> Type {
        self.pos.func.dfg.value_type(value)
    }

    fn result_ty(&self, inst: Inst) -> Type {
        self.ty(self.pos.func.dfg.first_result(inst))
    }

    fn constant(&self, value: Value) -> Option<i64> {
        constant_of(&self.pos.func.dfg, value)
    }

    fn iconst(&mut self, ty: Type, value: i64) -> Value {
        let bits = ty.bits();
        let masked = if bits == 64 { value } else { value & ((1 << bits) - 1) };
        self.pos.ins().iconst(ty, masked)
    }

    fn resize(&mut self, value: Value, ty: Type, signed: bool) -> Value {
        match (self.ty(value).bits().cmp(&ty.bits()), signed) {
            (std::cmp::Ordering::Equal, _) => value,
            (std::cmp::Ordering::Greater, _) => self.pos.ins().ireduce(ty, value),
            (std::cmp::Ordering::Less, false) => self.pos.ins().uextend(ty, value),
            (std::cmp::Ordering::Less, true) => self.pos.ins().sextend(ty, value),
        }
    }

    /// All ones if `value` is negative, else zero.
    fn sign(&mut self, value: Value) -> Value {
        let ty = self.ty(value);
        let amount = self.iconst(ty, i64::from(ty.bits()) - 1);
        self.pos.ins().sshr(value, amount)
    }

    /// `value` negated where `mask` is all ones, unchanged where it is zero.
    fn negate_if(&mut self, value: Value, mask: Value) -> Value {
        let flipped = self.pos.ins().bxor(value, mask);
        self.pos.ins().isub(flipped, mask)
    }

    /// An opaque constant becomes a plain one: it has served its purpose.
    fn opaque(&mut self, inst: Inst) -> Result<bool, String> {
        let result = self.pos.func.dfg.first_result(inst);
        let (namespace, id) = symbol_of(self.pos.func, result).ok_or("an unknown global value")?;
        match (namespace, self.symbols.get(id)) {
            (Namespace::Opaque, Some(Symbol::Opaque(value))) => {
                let value = self.iconst(I64, value);
                self.replace(inst, value)
            }
            (_, Some(_)) => Ok(false),
            (_, None) => Err(format!("symbol {} is not in the module's table", id.0)),
        }
    }

    fn unary(&mut self, inst: Inst, opcode: Opcode, arg: Value) -> Result<bool, String> {
        let ty = self.ty(arg);
        let value = match opcode {
            Opcode::Bmask => {
                let to = self.result_ty(inst);
                let (ones, zero) = (self.iconst(to, -1), self.iconst(to, 0));
                self.pos.ins().select(arg, ones, zero)
            }
            Opcode::Iabs => {
                let mask = self.sign(arg);
                self.negate_if(arg, mask)
            }
            Opcode::Popcnt => self.popcnt(arg),
            Opcode::Ctz => {
                let below = self.mask_below_lowest_bit(arg);
                self.pos.ins().popcnt(below)
            }
            Opcode::Clz => {
                let smeared = self.smear(arg);
                let above = self.pos.ins().bnot(smeared);
                self.pos.ins().popcnt(above)
            }
            Opcode::Cls => {
                let mask = self.sign(arg);
                let magnitude = self.pos.ins().bxor(arg, mask);
                let zeros = self.pos.ins().clz(magnitude);
                let one = self.iconst(ty, 1);
                self.pos.ins().isub(zeros, one)
            }
            Opcode::Bitrev => self.bitrev(arg),
            _ => return Ok(false),
        };
        self.replace(inst, value)
    }

    /// Ones in the places of the zeros below the lowest one of `value`.
    fn mask_below_lowest_bit(&mut self, value: Value) -> Value {
        let one = self.iconst(self.ty(value), 1);
        let lower = self.pos.ins().isub(value, one);
        let not = self.pos.ins().bnot(value);
        self.pos.ins().band(lower, not)
    }

    /// Copies the highest one of `value` to all places below.
    fn smear(&mut self, value: Value) -> Value {
        let ty = self.ty(value);
        let mut smeared = value;
        let mut shift = 1;
        while shift < ty.bits() {
            let amount = self.iconst(ty, i64::from(shift));
            let shifted = self.pos.ins().ushr(smeared, amount);
            smeared = self.pos.ins().bor(smeared, shifted);
            shift *= 2;
        }
        smeared
    }

    /// Adds up neighbouring groups of bits, doubling their size each time.
    fn popcnt(&mut self, value: Value) -> Value {
        let ty = self.ty(value);
        let mut sums = value;
        for (shift, mask) in SWAP_MASKS {
            if shift >= ty.bits() {
                break;
            }
            let (amount, mask) = (self.iconst(ty, i64::from(shift)), self.iconst(ty, mask));
            let high = self.pos.ins().ushr(sums, amount);
            let (high, low) = (self.pos.ins().band(high, mask), self.pos.ins().band(sums, mask));
            sums = self.pos.ins().iadd(high, low);
        }
        sums
    }

    /// Swaps neighbouring groups of bits within bytes, then the bytes.
    fn bitrev(&mut self, value: Value) -> Value {
        let ty = self.ty(value);
        let mut swapped = value;
        for (shift, mask) in &SWAP_MASKS[..3] {
            let (amount, mask) = (self.iconst(ty, i64::from(*shift)), self.iconst(ty, *mask));
            let high = self.pos.ins().ushr(swapped, amount);
            let (high, low) = (self.pos.ins().band(high, mask), self.pos.ins().band(swapped, mask));
            let low = self.pos.ins().ishl(low, amount);
            swapped = self.pos.ins().bor(high, low);
        }
        if ty == I8 { swapped } else { self.pos.ins().bswap(swapped) }
    }

    fn binary(&mut self, inst: Inst, opcode: Opcode, args: [Value; 2]) -> Result<bool, String> {
        let [x, y] = args;
        let ty = self.ty(x);
        let narrow = ty.bits() < 32;
        let value = match opcode {
            Opcode::Umin => self.choose(IntCC::UnsignedLessThan, x, y),
            Opcode::Umax => self.choose(IntCC::UnsignedGreaterThan, x, y),
            Opcode::Smin => self.choose(IntCC::SignedLessThan, x, y),
            Opcode::Smax => self.choose(IntCC::SignedGreaterThan, x, y),
            Opcode::Rotl => self.rotate(x, y, Direction::Left),
            Opcode::Rotr => self.rotate(x, y, Direction::Right),
            Opcode::Umulhi if ty == I64 => self.umulhi64(x, y),
            Opcode::Smulhi if ty == I64 => self.smulhi64(x, y),
            Opcode::Umulhi => self.mulhi_narrow(x, y, false),
            Opcode::Smulhi => self.mulhi_narrow(x, y, true),
            Opcode::Udiv | Opcode::Sdiv if self.constant(y) == Some(0) => self.iconst(ty, 0),
            Opcode::Urem | Opcode::Srem if self.constant(y) == Some(0) => x,
            Opcode::Udiv | Opcode::Urem if narrow => self.widened(opcode, x, y, false),
            Opcode::Sdiv | Opcode::Srem if narrow => self.widened(opcode, x, y, true),
            Opcode::Sdiv => self.sdiv(x, y),
            Opcode::Srem => self.srem(x, y),
            Opcode::Ishl | Opcode::Ushr | Opcode::Sshr if narrow => {
                return self.narrow_shift(inst, opcode, x, y);
            }
            _ => return Ok(false),
        };
        self.replace(inst, value)
    }

    fn choose(&mut self, cond: IntCC, x: Value, y: Value) -> Value {
        let first = self.pos.ins().icmp(cond, x, y);
        self.pos.ins().select(first, x, y)
    }

    fn build(&mut self, opcode: Opcode, x: Value, y: Value) -> Value {
        let ty = self.ty(x);
        let (inst, dfg) = self.pos.ins().Binary(opcode, ty, x, y);
        dfg.first_result(inst)
    }

    /// The operation on 32 bits, its result cut down again.
    fn widened(&mut self, opcode: Opcode, x: Value, y: Value, signed: bool) -> Value {
        let ty = self.ty(x);
        let (x, y) = (self.resize(x, I32, signed), self.resize(y, I32, signed));
        let wide = self.build(opcode, x, y);
        self.pos.ins().ireduce(ty, wide)
    }

    /// A shift of 8 or 16 bits: the machine takes amounts modulo 32 or 64, CLIF
    /// modulo the width; and a right shift sees the bits above.
    fn narrow_shift(&mut self, inst: Inst, opcode: Opcode, x: Value, y: Value) -> Result<bool, String> {
        let ty = self.ty(x);
        let modulus = i64::from(ty.bits());
        let in_range =
            self.constant(y).is_some_and(|amount| (0..modulus).contains(&amount)) || self.is_masked(y, modulus - 1);
        if opcode == Opcode::Ishl && in_range {
            return Ok(false);
        }
        let mask = self.iconst(self.ty(y), modulus - 1);
        let amount = if in_range { y } else { self.pos.ins().band(y, mask) };
        let value = match opcode {
            Opcode::Ishl => self.build(opcode, x, amount),
            _ => {
                let wide = self.resize(x, I32, opcode == Opcode::Sshr);
                let shifted = self.build(opcode, wide, amount);
                self.pos.ins().ireduce(ty, shifted)
            }
        };
        self.replace(inst, value)
    }

    /// Whether `value` is something `and mask`.
    fn is_masked(&self, value: Value, mask: i64) -> bool {
        let dfg = &self.pos.func.dfg;
        let value = dfg.resolve_aliases(value);
        let Some(inst) = dfg.value_def(value).inst() else {
            return false;
        };
        match dfg.insts[inst] {
            InstructionData::Binary { opcode: Opcode::Band, args } => {
                args.iter().any(|&arg| self.constant(arg) == Some(mask))
            }
            _ => false,
        }
    }

    fn rotate(&mut self, x: Value, y: Value, direction: Direction) -> Value {
        let amount_ty = self.ty(y);
        let mask = self.iconst(amount_ty, i64::from(self.ty(x).bits()) - 1);
        let forth = self.pos.ins().band(y, mask);
        let back = self.pos.ins().ineg(y);
        let back = self.pos.ins().band(back, mask);
        let (left, right) = match direction {
            Direction::Left => (forth, back),
            Direction::Right => (back, forth),
        };
        let (high, low) = (self.pos.ins().ishl(x, left), self.pos.ins().ushr(x, right));
        self.pos.ins().bor(high, low)
    }

    fn mulhi_narrow(&mut self, x: Value, y: Value, signed: bool) -> Value {
        let ty = self.ty(x);
        let wide = if ty == I32 { I64 } else { I32 };
        let (x, y) = (self.resize(x, wide, signed), self.resize(y, wide, signed));
        let product = self.pos.ins().imul(x, y);
        let amount = self.iconst(wide, i64::from(ty.bits()));
        let high = self.pos.ins().ushr(product, amount);
        self.pos.ins().ireduce(ty, high)
    }

    /// The high half of a 64-bit product from four products of halves.
    fn umulhi64(&mut self, x: Value, y: Value) -> Value {
        let half = self.iconst(I64, 32);
        let (x_low, y_low) = (self.low_half(x), self.low_half(y));
        let (x_high, y_high) = (self.pos.ins().ushr(x, half), self.pos.ins().ushr(y, half));
        let low = self.pos.ins().imul(x_low, y_low);
        let carry = self.pos.ins().ushr(low, half);
        let middle = self.pos.ins().imul(x_high, y_low);
        let middle = self.pos.ins().iadd(middle, carry);
        let other = self.pos.ins().imul(x_low, y_high);
        let middle_low = self.low_half(middle);
        let other = self.pos.ins().iadd(other, middle_low);
        let high = self.pos.ins().imul(x_high, y_high);
        let middle_high = self.pos.ins().ushr(middle, half);
        let other_high = self.pos.ins().ushr(other, half);
        let sum = self.pos.ins().iadd(high, middle_high);
        self.pos.ins().iadd(sum, other_high)
    }

    fn low_half(&mut self, x: Value) -> Value {
        let low = self.pos.ins().ireduce(I32, x);
        self.pos.ins().uextend(I64, low)
    }

    /// The unsigned high half, less each factor where the other is negative.
    fn smulhi64(&mut self, x: Value, y: Value) -> Value {
        let high = self.umulhi64(x, y);
        let (x_sign, y_sign) = (self.sign(x), self.sign(y));
        let (less_y, less_x) = (self.pos.ins().band(x_sign, y), self.pos.ins().band(y_sign, x));
        let high = self.pos.ins().isub(high, less_y);
        self.pos.ins().isub(high, less_x)
    }

    /// Unsigned division of magnitudes; signed division needs mcpu=v4 (6.6).
    fn sdiv(&mut self, x: Value, y: Value) -> Value {
        let x_sign = self.sign(x);
        let x_abs = self.negate_if(x, x_sign);
        let (y_abs, sign) = match self.constant(y) {
            Some(divisor) if self.is_positive(divisor, y) => (y, x_sign),
            _ => {
                let y_sign = self.sign(y);
                (self.negate_if(y, y_sign), self.pos.ins().bxor(x_sign, y_sign))
            }
        };
        let quotient = self.pos.ins().udiv(x_abs, y_abs);
        self.negate_if(quotient, sign)
    }

    /// The remainder of magnitudes, with the sign of the dividend.
    fn srem(&mut self, x: Value, y: Value) -> Value {
        let x_sign = self.sign(x);
        let x_abs = self.negate_if(x, x_sign);
        let y_abs = match self.constant(y) {
            Some(divisor) if self.is_positive(divisor, y) => y,
            _ => {
                let y_sign = self.sign(y);
                self.negate_if(y, y_sign)
            }
        };
        let remainder = self.pos.ins().urem(x_abs, y_abs);
        self.negate_if(remainder, x_sign)
    }

    /// Whether `constant`, zero-extended from the type of `value`, is positive
    /// in that type.
    fn is_positive(&self, constant: i64, value: Value) -> bool {
        constant > 0 && constant >> (self.ty(value).bits() - 1) == 0
    }

    /// Compares narrow values as 64-bit ones. 64, not 32, so that the extension
    /// is the same value as the one that widens the number for its other uses,
    /// and the verifier sees the check on the register that is used.
    fn compare(&mut self, inst: Inst, cond: IntCC, args: [Value; 2]) -> Result<bool, String> {
        if self.ty(args[0]).bits() >= 32 {
            return Ok(false);
        }
        let signed = cond != cond.unsigned();
        let [x, y] = args.map(|arg| self.resize(arg, I64, signed));
        let value = self.pos.ins().icmp(cond, x, y);
        self.replace(inst, value)
    }

    /// A narrow condition that is no comparison has undefined upper bits.
    fn condition(&mut self, inst: Inst, cond: Value) -> Result<bool, String> {
        let dfg = &self.pos.func.dfg;
        let def = dfg.value_def(dfg.resolve_aliases(cond)).inst();
        let is_compare = def.is_some_and(|def| dfg.insts[def].opcode() == Opcode::Icmp);
        if is_compare || self.ty(cond).bits() >= 32 {
            return Ok(false);
        }
        let whole = self.resize(cond, I64, false);
        self.pos.func.dfg.inst_args_mut(inst)[0] = whole;
        Ok(true)
    }

    fn extending_load(
        &mut self,
        inst: Inst,
        opcode: Opcode,
        flags: MemFlagsData,
        base: Value,
        offset: i32,
    ) -> Result<bool, String> {
        let (ty, signed) = match opcode {
            Opcode::Uload8 => (I8, false),
            Opcode::Sload8 => (I8, true),
            Opcode::Uload16 => (I16, false),
            Opcode::Sload16 => (I16, true),
            Opcode::Uload32 => (I32, false),
            Opcode::Sload32 => (I32, true),
            _ => return Err(format!("no expansion for `{opcode}`")),
        };
        let to = self.result_ty(inst);
        let loaded = self.pos.ins().load(ty, flags, base, offset);
        let value = self.resize(loaded, to, signed);
        self.replace(inst, value)
    }

    fn truncating_store(
        &mut self,
        inst: Inst,
        opcode: Opcode,
        flags: MemFlagsData,
        [value, base]: [Value; 2],
        offset: i32,
    ) -> Result<bool, String> {
        let ty = match opcode {
            Opcode::Istore8 => I8,
            Opcode::Istore16 => I16,
            Opcode::Istore32 => I32,
            _ => return Err(format!("no expansion for `{opcode}`")),
        };
        let low = self.resize(value, ty, false);
        self.pos.ins().store(flags, low, base, offset);
        self.pos.func.layout.remove_inst(inst);
        Ok(true)
    }

    fn check_atomic(&self, inst: Inst) -> Result<bool, String> {
        let display = self.pos.func.dfg.display_inst(inst);
        if self.result_ty(inst).bits() < 32 {
            return Err(format!("BPF has no atomic access this narrow: `{display}`"));
        }
        Ok(false)
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Left,
    Right,
}

/// Distance and low mask of groups of 1, 2, 4, ... bits.
const SWAP_MASKS: [(u32, i64); 6] = [
    (1, 0x5555_5555_5555_5555),
    (2, 0x3333_3333_3333_3333),
    (4, 0x0f0f_0f0f_0f0f_0f0f),
    (8, 0x00ff_00ff_00ff_00ff),
    (16, 0x0000_ffff_0000_ffff),
    (32, 0x0000_0000_ffff_ffff),
];
