//! Selection of one instruction.

use cranelift_codegen::ir::{self, AtomicRmwOp, Inst, InstructionData, Opcode, Value};
use regalloc2::{Operand, VReg};

use crate::bpf::insn::{ATOMIC_FETCH, ATOMIC_XCHG, AluOp};
use crate::bpf::value::{external_name, mask};
use crate::bpf::vcode::{Op, Src, Target, preg};
use crate::clif::{Namespace, SymbolId, Width};

use super::Isel;

impl Isel<'_> {
    /// Emits `inst`, which is no branch, if it has an effect or its result is
    /// asked for.
    pub(super) fn inst(&mut self, inst: Inst, data: InstructionData) -> Result<(), String> {
        match data {
            InstructionData::MultiAry { opcode: Opcode::Return, .. } => return self.ret(inst),
            InstructionData::Call { func_ref, .. } => return self.call(inst, func_ref),
            InstructionData::Store { args: [value, base], offset, .. } => {
                return self.store(value, base, offset.into());
            }
            InstructionData::AtomicRmw { op, args: [base, value], .. } => {
                return self.atomic_rmw(inst, op, base, value);
            }
            InstructionData::AtomicCas { args, .. } => return self.atomic_cas(inst, args),
            InstructionData::NullAry { opcode: Opcode::Nop } => return Ok(()),
            _ => {}
        }
        let Some(def) = self.asked(inst) else {
            return Ok(());
        };
        match data {
            InstructionData::Load { arg, offset, .. } => self.load(inst, def, arg, offset.into()),
            InstructionData::Unary { opcode, arg } => self.unary(inst, def, opcode, arg),
            InstructionData::Binary { opcode, args } => self.binary(inst, def, opcode, args),
            InstructionData::IntCompare { .. } => self.flag(inst, def),
            InstructionData::Ternary { opcode: Opcode::Select, args } => self.select(def, args),
            _ => Err(self.unexpected(inst)),
        }
    }

    fn unexpected(&self, inst: Inst) -> String {
        format!("no selection rule for `{}`", self.func.dfg.display_inst(inst))
    }

    fn ret(&mut self, inst: Inst) -> Result<(), String> {
        let &[value] = self.func.dfg.inst_args(inst) else {
            return Err(self.unexpected(inst));
        };
        let value = self.reg(value);
        self.emit([(Op::Return, vec![Operand::reg_fixed_use(value, preg(0))])]);
        Ok(())
    }

    fn call(&mut self, inst: Inst, func: ir::FuncRef) -> Result<(), String> {
        let name = external_name(self.func, &self.func.dfg.ext_funcs[func].name);
        let args = self.func.dfg.inst_args(inst).to_vec();
        let target = match name {
            Some((Namespace::Barrier, _)) => return self.barrier(inst, &args),
            Some((Namespace::Helper, id)) => Target::Helper(id),
            Some((Namespace::Subprog | Namespace::Ksym | Namespace::Imported, id)) => Target::Symbol(SymbolId(id)),
            _ => return Err(self.unexpected(inst)),
        };
        let result = self.asked(inst).unwrap_or_else(|| self.draft.new_vreg());
        let mut operands = vec![Operand::reg_fixed_def(result, preg(0))];
        for (at, &arg) in args.iter().enumerate() {
            let arg = self.reg(arg);
            operands.push(Operand::reg_fixed_use(arg, preg(at + 1)));
        }
        self.emit([(Op::Call(target), operands)]);
        Ok(())
    }

    fn barrier(&mut self, inst: Inst, args: &[Value]) -> Result<(), String> {
        let &[value] = args else {
            return Err(self.unexpected(inst));
        };
        if let Some(def) = self.asked(inst) {
            let value = self.reg(value);
            self.emit([(Op::Copy, reuse(def, value))]);
        }
        Ok(())
    }

    fn load(&mut self, inst: Inst, def: VReg, base: Value, offset: i32) -> Result<(), String> {
        let width = self.result_width(inst)?;
        let (mem, base) = self.mem(base, offset, width);
        let mut operands = vec![Operand::reg_def(def)];
        operands.extend(base.map(Operand::reg_use));
        self.emit([(Op::Load(mem), operands)]);
        Ok(())
    }

    fn result_width(&self, inst: Inst) -> Result<Width, String> {
        let bits = self.bits(self.func.dfg.first_result(inst));
        Width::from_bytes(bits / 8).ok_or_else(|| self.unexpected(inst))
    }

    fn store(&mut self, value: Value, base: Value, offset: i32) -> Result<(), String> {
        let bits = self.bits(value);
        let width = Width::from_bytes(bits / 8).ok_or("a store of odd width")?;
        let (mem, base) = self.mem(base, offset, width);
        let mut operands: Vec<Operand> = base.into_iter().map(Operand::reg_use).collect();
        let src = match self.immediate(value) {
            Some(imm) => Src::Imm(imm),
            None => {
                let value = self.low_bits(value, bits);
                operands.push(Operand::reg_use(self.reg(value)));
                Src::Reg
            }
        };
        self.emit([(Op::Store(mem, src), operands)]);
        Ok(())
    }

    /// A value whose low `bits` bits are those of `value`, the rest may differ.
    fn low_bits(&self, value: Value, bits: u32) -> Value {
        let value = self.func.dfg.resolve_aliases(value);
        let inner = match self.def(value) {
            Some(InstructionData::Unary { opcode, arg }) => match opcode {
                Opcode::Ireduce => Some(arg),
                Opcode::Uextend | Opcode::Sextend if self.bits(arg) >= bits => Some(arg),
                _ => None,
            },
            Some(InstructionData::Binary { opcode: Opcode::Band, args: [x, y] }) => {
                let low = mask(ir::Type::int(bits as u16).unwrap_or(ir::types::I64), -1);
                let keeps_all = |value| self.constant(value).is_some_and(|c| c & low == low);
                match (keeps_all(x), keeps_all(y)) {
                    (_, true) => Some(x),
                    (true, _) => Some(y),
                    _ => None,
                }
            }
            _ => None,
        };
        inner.map_or(value, |inner| self.low_bits(inner, bits))
    }

    fn atomic_rmw(&mut self, inst: Inst, op: AtomicRmwOp, base: Value, value: Value) -> Result<(), String> {
        let (alu, negate) = match op {
            AtomicRmwOp::Add => (Some(AluOp::Add), false),
            AtomicRmwOp::Sub => (Some(AluOp::Add), true),
            AtomicRmwOp::And => (Some(AluOp::And), false),
            AtomicRmwOp::Or => (Some(AluOp::Or), false),
            AtomicRmwOp::Xor => (Some(AluOp::Xor), false),
            AtomicRmwOp::Xchg => (None, false),
            _ => return Err(self.unexpected(inst)),
        };
        let bits = self.bits(value);
        let width = self.result_width(inst)?;
        let (mem, base) = self.mem(base, 0, width);
        let base = base.map(Operand::reg_use);
        let value = self.low_bits(value, bits);
        let mut value = self.reg(value);
        let mut insts = Vec::new();
        if negate {
            let negative = self.draft.new_vreg();
            insts.push((Op::Neg { wide: bits == 64 }, reuse(negative, value)));
            value = negative;
        }
        let mut operands: Vec<Operand> = base.into_iter().collect();
        operands.push(Operand::reg_use(value));
        match (alu, self.asked(inst)) {
            (Some(alu), None) => insts.push((Op::Atomic(mem, alu), operands)),
            (alu, result) => {
                let result = result.unwrap_or_else(|| self.draft.new_vreg());
                let code = alu.map_or(ATOMIC_XCHG, |alu| alu as i32 | ATOMIC_FETCH);
                let at = operands.len();
                operands.insert(0, Operand::reg_reuse_def(result, at));
                insts.push((Op::AtomicFetch(mem, code), operands));
            }
        }
        self.emit(insts);
        Ok(())
    }

    fn atomic_cas(&mut self, inst: Inst, args: [Value; 3]) -> Result<(), String> {
        let [base, expected, new] = args;
        let width = self.result_width(inst)?;
        let result = self.asked(inst).unwrap_or_else(|| self.draft.new_vreg());
        let (mem, base) = self.mem(base, 0, width);
        // The comparison is as wide as the access; r0 may hold more.
        let new = self.low_bits(new, width.bits());
        let (expected, new) = (self.reg(expected), self.reg(new));
        let mut operands = vec![Operand::reg_fixed_def(result, preg(0))];
        operands.extend(base.map(Operand::reg_use));
        operands.push(Operand::reg_fixed_use(expected, preg(0)));
        operands.push(Operand::reg_use(new));
        self.emit([(Op::CompareExchange(mem), operands)]);
        Ok(())
    }

    fn unary(&mut self, inst: Inst, def: VReg, opcode: Opcode, arg: Value) -> Result<(), String> {
        let to = self.bits(self.func.dfg.first_result(inst));
        let from = self.bits(arg);
        let reg = self.reg(arg);
        let insts = match opcode {
            Opcode::Ireduce => vec![(Op::Mov32, vec![Operand::reg_def(def), Operand::reg_use(reg)])],
            Opcode::Uextend => {
                let rhs = Src::Imm((1 << from) - 1);
                vec![(Op::Alu { op: AluOp::And, wide: true, rhs }, reuse(def, reg))]
            }
            Opcode::Sextend => self.sign_extend(def, reg, from, to),
            Opcode::Ineg => vec![(Op::Neg { wide: to == 64 }, reuse(def, reg))],
            Opcode::Bnot => {
                let op = Op::Alu { op: AluOp::Xor, wide: to == 64, rhs: Src::Imm(-1) };
                vec![(op, reuse(def, reg))]
            }
            Opcode::Bswap => vec![(Op::Swap { bits: to }, reuse(def, reg))],
            _ => return Err(self.unexpected(inst)),
        };
        self.emit(insts);
        Ok(())
    }

    /// Shifts up and arithmetically down again; one instruction needs mcpu=v4.
    fn sign_extend(&mut self, def: VReg, reg: VReg, from: u32, to: u32) -> Vec<(Op, Vec<Operand>)> {
        let wide = to == 64;
        let distance = if wide { 64 - from } else { 32 - from };
        let rhs = Src::Imm(distance as i32);
        let up = self.draft.new_vreg();
        vec![
            (Op::Alu { op: AluOp::Lsh, wide, rhs }, reuse(up, reg)),
            (Op::Alu { op: AluOp::Arsh, wide, rhs }, reuse(def, up)),
        ]
    }

    fn binary(&mut self, inst: Inst, def: VReg, opcode: Opcode, [x, y]: [Value; 2]) -> Result<(), String> {
        let op = match opcode {
            Opcode::Iadd => AluOp::Add,
            Opcode::Isub => AluOp::Sub,
            Opcode::Imul => AluOp::Mul,
            Opcode::Udiv => AluOp::Div,
            Opcode::Urem => AluOp::Mod,
            Opcode::Band => AluOp::And,
            Opcode::Bor => AluOp::Or,
            Opcode::Bxor => AluOp::Xor,
            Opcode::Ishl => AluOp::Lsh,
            Opcode::Ushr => AluOp::Rsh,
            Opcode::Sshr => AluOp::Arsh,
            _ => return Err(self.unexpected(inst)),
        };
        let commutes = matches!(op, AluOp::Add | AluOp::Mul | AluOp::And | AluOp::Or | AluOp::Xor);
        let folds = |isel: &Self, value| isel.immediate(value).is_some() || isel.patched_immediate(value).is_some();
        let (x, y) = if commutes && folds(self, x) && !folds(self, y) { (y, x) } else { (x, y) };
        let wide = self.bits(x) == 64;
        if op == AluOp::And && wide && self.constant(y) == Some(0xffff_ffff) {
            let operands = vec![Operand::reg_def(def), Operand::reg_use(self.reg(x))];
            self.emit([(Op::Mov32, operands)]);
            return Ok(());
        }
        let (rhs, right) = match op {
            AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => self.shift_amount(y, if wide { 64 } else { 32 }),
            AluOp::Div | AluOp::Mod => self.divisor(y),
            _ => self.rhs(y),
        };
        let mut operands = reuse(def, self.reg(x));
        operands.extend(right.map(Operand::reg_use));
        self.emit([(Op::Alu { op, wide, rhs }, operands)]);
        Ok(())
    }

    /// The verifier refuses a constant amount beyond the width.
    fn shift_amount(&mut self, amount: Value, width: i64) -> (Src, Option<VReg>) {
        match self.constant(amount) {
            Some(amount) => (Src::Imm((amount & (width - 1)) as i32), None),
            None => (Src::Reg, Some(self.reg(amount))),
        }
    }

    /// The verifier refuses a constant zero, and a patched one might become it.
    fn divisor(&mut self, divisor: Value) -> (Src, Option<VReg>) {
        match self.immediate(divisor) {
            Some(imm) if imm > 0 => (Src::Imm(imm), None),
            _ => (Src::Reg, Some(self.reg(divisor))),
        }
    }

    /// A comparison as a value: 1 or 0.
    fn flag(&mut self, inst: Inst, def: VReg) -> Result<(), String> {
        let (test, compared) = self.test(self.func.dfg.first_result(inst));
        let zero = self.remake(Op::Const(0));
        let mut operands = reuse(def, zero);
        operands.extend(compared);
        self.emit([(Op::Select { test, wide: true, then: Src::Imm(1) }, operands)]);
        Ok(())
    }

    fn select(&mut self, def: VReg, [cond, yes, no]: [Value; 3]) -> Result<(), String> {
        let (mut test, compared) = self.test(cond);
        let (mut then, mut otherwise) = (yes, no);
        // An immediate saves a register only in the place that is moved.
        if self.immediate(then).is_none() && self.immediate(otherwise).is_some() {
            test.op = test.op.negated();
            (then, otherwise) = (otherwise, then);
        }
        let wide = self.bits(yes) == 64;
        let mut operands = reuse(def, self.reg(otherwise));
        operands.extend(compared);
        let then = match self.immediate(then) {
            Some(imm) => Src::Imm(imm),
            None => {
                operands.push(Operand::reg_use(self.reg(then)));
                Src::Reg
            }
        };
        self.emit([(Op::Select { test, wide, then }, operands)]);
        Ok(())
    }

    /// `base + offset` in a register of its own, before the current instruction.
    pub(super) fn add_before(&mut self, base: VReg, offset: i32) -> VReg {
        let sum = self.draft.new_vreg();
        let op = Op::Alu { op: AluOp::Add, wide: true, rhs: Src::Imm(offset) };
        let srcloc = self.srcloc;
        // `pending` is emitted backwards: the sum must come before what the
        // base itself needed, that is after it in program order.
        self.pending.insert(0, crate::bpf::vcode::VInst { op, operands: reuse(sum, base), srcloc });
        sum
    }
}

/// A result that takes over the register of the first use.
fn reuse(def: VReg, first: VReg) -> Vec<Operand> {
    vec![Operand::reg_reuse_def(def, 1), Operand::reg_use(first)]
}
