//! A BPF interpreter for tests: one function, a context buffer, the stack.
//!
//! Stricter than the machine: reading a register or a stack byte that was never
//! written, a misaligned stack access and a shift or division the verifier
//! would refuse are errors. Helpers return a number that nobody should depend
//! on, and clobber r1 to r5.

use super::Code;
use super::insn::{self, ALU_OPS, AluOp, Insn, JmpOp, class};

const CTX: u64 = 0x1000_0000;
const STACK: u64 = 0x2000_0000;
const STACK_SIZE: u64 = 512;
/// What a helper leaves in r0.
const HELPER_RESULT: u64 = 0xdead_beef_cafe_f00d;

/// Runs `code` with r1 pointing to `ctx`; gives what it returns.
pub(super) fn run(code: &Code, ctx: &mut [u8]) -> Result<u64, String> {
    let mut machine = Machine { regs: [None; 11], stack: vec![None; STACK_SIZE as usize], ctx };
    machine.regs[1] = Some(CTX);
    machine.regs[10] = Some(STACK + STACK_SIZE);
    let mut pc = 0;
    for _ in 0..1_000_000 {
        let insn = *code.insns.get(pc).ok_or_else(|| format!("ran off the end at {pc}"))?;
        if insn.opcode == insn::EXIT {
            return machine.reg(0);
        }
        let step = machine.step(insn, code.insns.get(pc + 1).copied());
        let next = step.map_err(|message| format!("{pc}: {message}"))?;
        pc = usize::try_from(pc as i64 + next).map_err(|_| format!("{pc}: jump out of the program"))?;
    }
    Err("too many instructions".to_owned())
}

struct Machine<'a> {
    regs: [Option<u64>; 11],
    stack: Vec<Option<u8>>,
    ctx: &'a mut [u8],
}

impl Machine<'_> {
    fn reg(&self, number: u8) -> Result<u64, String> {
        self.regs[usize::from(number)].ok_or_else(|| format!("r{number} is not initialised"))
    }

    fn set(&mut self, number: u8, value: u64) -> Result<i64, String> {
        if number == insn::FP {
            return Err("write to r10".to_owned());
        }
        self.regs[usize::from(number)] = Some(value);
        Ok(1)
    }

    /// Executes one instruction; gives the distance to the next.
    fn step(&mut self, insn: Insn, second: Option<Insn>) -> Result<i64, String> {
        match insn.class() {
            class::ALU | class::ALU64 => self.alu(insn),
            class::JMP | class::JMP32 => self.jump(insn),
            class::LD => {
                let high = second.ok_or("half a 64-bit load")?.imm as u32;
                self.set(insn.dst, u64::from(high) << 32 | u64::from(insn.imm as u32))?;
                Ok(2)
            }
            class::LDX => {
                let address = self.reg(insn.src)?.wrapping_add(insn.off as i64 as u64);
                let value = self.load(address, size(insn))?;
                self.set(insn.dst, value)
            }
            class::ST => {
                let address = self.reg(insn.dst)?.wrapping_add(insn.off as i64 as u64);
                self.store(address, size(insn), insn.imm as i64 as u64)?;
                Ok(1)
            }
            _ if insn.opcode & 0xe0 == insn::MODE_ATOMIC => self.atomic(insn),
            _ => {
                let address = self.reg(insn.dst)?.wrapping_add(insn.off as i64 as u64);
                let value = self.reg(insn.src)?;
                self.store(address, size(insn), value)?;
                Ok(1)
            }
        }
    }

    fn load(&mut self, address: u64, size: u64) -> Result<u64, String> {
        let mut value = 0;
        for byte in (0..size).rev() {
            value = value << 8 | u64::from(self.byte(address, size, byte)?);
        }
        Ok(value)
    }

    fn byte(&mut self, address: u64, size: u64, at: u64) -> Result<u8, String> {
        if let Some(place) = place(address, size, at, CTX, self.ctx.len() as u64)? {
            return Ok(self.ctx[place]);
        }
        let place = place(address, size, at, STACK, STACK_SIZE)?;
        let place = place.ok_or_else(|| format!("load from {address:#x}"))?;
        self.stack[place].ok_or_else(|| format!("stack byte {place} is not initialised"))
    }

    fn store(&mut self, address: u64, size: u64, value: u64) -> Result<(), String> {
        for at in 0..size {
            let byte = (value >> (8 * at)) as u8;
            if let Some(place) = place(address, size, at, CTX, self.ctx.len() as u64)? {
                self.ctx[place] = byte;
                continue;
            }
            let place = place(address, size, at, STACK, STACK_SIZE)?;
            self.stack[place.ok_or_else(|| format!("store to {address:#x}"))?] = Some(byte);
        }
        Ok(())
    }

    fn alu(&mut self, insn: Insn) -> Result<i64, String> {
        let wide = insn.class() == class::ALU64;
        let op = *ALU_OPS.get(usize::from(insn.opcode >> 4)).ok_or("unknown operation")?;
        let bits = if wide { 64 } else { 32 };
        let right = match op {
            AluOp::Neg | AluOp::End => 0,
            _ if insn.opcode & insn::SRC_X != 0 => self.reg(insn.src)?,
            _ => insn.imm as i64 as u64,
        };
        let left = if op == AluOp::Mov { 0 } else { self.reg(insn.dst)? };
        let constant = insn.opcode & insn::SRC_X == 0;
        match op {
            AluOp::Lsh | AluOp::Rsh | AluOp::Arsh if constant && right >= bits => {
                return Err(format!("invalid shift by {right}"));
            }
            AluOp::Div | AluOp::Mod if constant && right == 0 => {
                return Err("division by zero".to_owned());
            }
            _ => {}
        }
        let result = match (op, wide) {
            (AluOp::End, _) => swap(left, insn.imm)?,
            (_, true) => alu64(op, left, right),
            (_, false) => u64::from(alu32(op, left as u32, right as u32)),
        };
        self.set(insn.dst, result)
    }

    fn jump(&mut self, insn: Insn) -> Result<i64, String> {
        match insn.opcode {
            insn::JA => return Ok(1 + i64::from(insn.off)),
            insn::CALL => {
                self.regs[1..=5].fill(None);
                return self.set(0, HELPER_RESULT);
            }
            _ => {}
        }
        let left = self.reg(insn.dst)?;
        let right = match insn.opcode & insn::SRC_X {
            0 => insn.imm as i64 as u64,
            _ => self.reg(insn.src)?,
        };
        let (left, right) = match insn.class() {
            class::JMP => (left, right),
            // Sign extension keeps the unsigned order, too.
            _ => (left as i32 as i64 as u64, right as i32 as i64 as u64),
        };
        let op = JmpOp::from_bits(insn.opcode & 0xf0).ok_or("unknown jump")?;
        Ok(if holds(op, left, right) { 1 + i64::from(insn.off) } else { 1 })
    }

    fn atomic(&mut self, insn: Insn) -> Result<i64, String> {
        let address = self.reg(insn.dst)?.wrapping_add(insn.off as i64 as u64);
        let size = size(insn);
        if size < 4 {
            return Err("narrow atomic access".to_owned());
        }
        let mask = if size == 8 { u64::MAX } else { u64::from(u32::MAX) };
        let (old, operand) = (self.load(address, size)?, self.reg(insn.src)? & mask);
        if insn.imm == insn::ATOMIC_CMPXCHG {
            if old == self.reg(0)? & mask {
                self.store(address, size, operand)?;
            }
            return self.set(0, old);
        }
        let new = match insn.imm & !insn::ATOMIC_FETCH {
            0x00 => old.wrapping_add(operand),
            0x40 => old | operand,
            0x50 => old & operand,
            0xa0 => old ^ operand,
            0xe0 => operand,
            other => return Err(format!("unknown atomic operation {other:#x}")),
        };
        self.store(address, size, new)?;
        match insn.imm & insn::ATOMIC_FETCH {
            0 => Ok(1),
            _ => self.set(insn.src, old),
        }
    }
}

/// Index of byte `at` of an access, if it lies in the region at `base`.
fn place(address: u64, size: u64, at: u64, base: u64, len: u64) -> Result<Option<usize>, String> {
    let offset = address.wrapping_sub(base);
    if offset >= len || len - offset < size {
        return Ok(None);
    }
    if !offset.is_multiple_of(size) {
        return Err(format!("misaligned access at {address:#x}"));
    }
    Ok(Some((offset + at) as usize))
}

fn size(insn: Insn) -> u64 {
    match insn.opcode & 0x18 {
        0x00 => 4,
        0x08 => 2,
        0x10 => 1,
        _ => 8,
    }
}

fn swap(value: u64, bits: i32) -> Result<u64, String> {
    match bits {
        16 => Ok(u64::from((value as u16).swap_bytes())),
        32 => Ok(u64::from((value as u32).swap_bytes())),
        64 => Ok(value.swap_bytes()),
        _ => Err(format!("byte swap of {bits} bits")),
    }
}

macro_rules! alu {
    ($name:ident, $unsigned:ty, $signed:ty) => {
        fn $name(op: AluOp, left: $unsigned, right: $unsigned) -> $unsigned {
            match op {
                AluOp::Add => left.wrapping_add(right),
                AluOp::Sub => left.wrapping_sub(right),
                AluOp::Mul => left.wrapping_mul(right),
                AluOp::Div => left.checked_div(right).unwrap_or(0),
                AluOp::Mod => left.checked_rem(right).unwrap_or(left),
                AluOp::Or => left | right,
                AluOp::And => left & right,
                AluOp::Xor => left ^ right,
                AluOp::Lsh => left.wrapping_shl(right as u32),
                AluOp::Rsh => left.wrapping_shr(right as u32),
                AluOp::Arsh => (left as $signed).wrapping_shr(right as u32) as $unsigned,
                AluOp::Neg => left.wrapping_neg(),
                AluOp::Mov => right,
                AluOp::End => left,
            }
        }
    };
}

alu!(alu64, u64, i64);
alu!(alu32, u32, i32);

fn holds(op: JmpOp, left: u64, right: u64) -> bool {
    match op {
        JmpOp::Eq => left == right,
        JmpOp::Ne => left != right,
        JmpOp::Gt => left > right,
        JmpOp::Ge => left >= right,
        JmpOp::Lt => left < right,
        JmpOp::Le => left <= right,
        JmpOp::Sgt => (left as i64) > right as i64,
        JmpOp::Sge => (left as i64) >= right as i64,
        JmpOp::Slt => (left as i64) < (right as i64),
        JmpOp::Sle => (left as i64) <= right as i64,
    }
}
