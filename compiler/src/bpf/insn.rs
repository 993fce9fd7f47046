//! One BPF instruction and its encoding.
//!
//! Numbers are those of the kernel's `include/uapi/linux/bpf.h` and
//! `bpf_common.h`. A 64-bit immediate load takes two consecutive [`Insn`]s.

/// Instruction classes.
pub mod class {
    #![allow(missing_docs, reason = "the names are the kernel's")]
    pub const LD: u8 = 0x00;
    pub const LDX: u8 = 0x01;
    pub const ST: u8 = 0x02;
    pub const STX: u8 = 0x03;
    pub const ALU: u8 = 0x04;
    pub const JMP: u8 = 0x05;
    pub const JMP32: u8 = 0x06;
    pub const ALU64: u8 = 0x07;
}

/// The second operand is a register, not the immediate.
pub const SRC_X: u8 = 0x08;
/// Access mode: memory at register plus offset.
pub const MODE_MEM: u8 = 0x60;
/// Access mode: atomic; the immediate says which operation.
pub const MODE_ATOMIC: u8 = 0xc0;
/// A load of a 64-bit immediate (first of two instructions).
pub const LD_IMM64: u8 = class::LD | 0x18;
/// `call`.
pub const CALL: u8 = class::JMP | 0x80;
/// `exit`.
pub const EXIT: u8 = class::JMP | 0x90;
/// Unconditional jump.
pub const JA: u8 = class::JMP;
/// `call` to a function of the object, by relative position.
pub const PSEUDO_CALL: u8 = 1;
/// Atomic flag: the source register receives the old value (kernel 5.12).
pub const ATOMIC_FETCH: i32 = 0x01;
/// Atomic exchange (kernel 5.12).
pub const ATOMIC_XCHG: i32 = 0xe1;
/// Atomic compare and exchange against r0 (kernel 5.12).
pub const ATOMIC_CMPXCHG: i32 = 0xf1;
/// The frame pointer.
pub const FP: u8 = 10;

/// Arithmetic operations; the discriminant is the opcode's high nibble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub enum AluOp {
    Add = 0x00,
    Sub = 0x10,
    Mul = 0x20,
    Div = 0x30,
    Or = 0x40,
    And = 0x50,
    Lsh = 0x60,
    Rsh = 0x70,
    Neg = 0x80,
    Mod = 0x90,
    Xor = 0xa0,
    Mov = 0xb0,
    Arsh = 0xc0,
    /// Byte swap; the immediate is the width in bits.
    End = 0xd0,
}

/// All arithmetic operations, indexed by high nibble.
pub(crate) const ALU_OPS: [AluOp; 14] = [
    AluOp::Add,
    AluOp::Sub,
    AluOp::Mul,
    AluOp::Div,
    AluOp::Or,
    AluOp::And,
    AluOp::Lsh,
    AluOp::Rsh,
    AluOp::Neg,
    AluOp::Mod,
    AluOp::Xor,
    AluOp::Mov,
    AluOp::Arsh,
    AluOp::End,
];

/// Conditions of jumps; the discriminant is the opcode's high nibble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub enum JmpOp {
    Eq = 0x10,
    Gt = 0x20,
    Ge = 0x30,
    Ne = 0x50,
    Sgt = 0x60,
    Sge = 0x70,
    Lt = 0xa0,
    Le = 0xb0,
    Slt = 0xc0,
    Sle = 0xd0,
}

/// Each condition with its negation.
const NEGATIONS: [(JmpOp, JmpOp); 5] = [
    (JmpOp::Eq, JmpOp::Ne),
    (JmpOp::Gt, JmpOp::Le),
    (JmpOp::Ge, JmpOp::Lt),
    (JmpOp::Sgt, JmpOp::Sle),
    (JmpOp::Sge, JmpOp::Slt),
];

impl JmpOp {
    /// The condition that holds exactly when this one does not.
    #[must_use]
    pub fn negated(self) -> JmpOp {
        let found = NEGATIONS.iter().find_map(|&(a, b)| match self {
            _ if self == a => Some(b),
            _ if self == b => Some(a),
            _ => None,
        });
        found.expect("every condition has a negation")
    }

    /// The condition with this high nibble.
    pub fn from_bits(bits: u8) -> Option<JmpOp> {
        NEGATIONS.iter().flat_map(|&(a, b)| [a, b]).find(|&op| op as u8 == bits)
    }
}

/// One encoded instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub struct Insn {
    pub opcode: u8,
    pub dst: u8,
    pub src: u8,
    pub off: i16,
    pub imm: i32,
}

impl Insn {
    /// Little-endian bytes, as in the object file.
    pub fn to_bytes(self) -> [u8; 8] {
        let [off0, off1] = self.off.to_le_bytes();
        let [imm0, imm1, imm2, imm3] = self.imm.to_le_bytes();
        [self.opcode, self.dst | self.src << 4, off0, off1, imm0, imm1, imm2, imm3]
    }

    /// `dst op= imm`; all 64 bits if `wide`, else the low 32 with zeros above.
    pub fn alu_imm(op: AluOp, wide: bool, dst: u8, imm: i32) -> Insn {
        Insn { opcode: op as u8 | alu_class(wide), dst, imm, ..Insn::default() }
    }

    /// `dst op= src`.
    pub fn alu_reg(op: AluOp, wide: bool, dst: u8, src: u8) -> Insn {
        Insn { opcode: op as u8 | alu_class(wide) | SRC_X, dst, src, ..Insn::default() }
    }

    /// Swaps the low `bits` bits of `dst` between the machine's and big endian.
    pub fn to_big_endian(dst: u8, bits: i32) -> Insn {
        Insn { opcode: AluOp::End as u8 | class::ALU | SRC_X, dst, imm: bits, ..Insn::default() }
    }

    /// The two instructions that load 64 bits.
    pub fn load_imm64(dst: u8, value: u64) -> [Insn; 2] {
        let (low, high) = (value as u32 as i32, (value >> 32) as u32 as i32);
        [Insn { opcode: LD_IMM64, dst, imm: low, ..Insn::default() }, Insn { imm: high, ..Insn::default() }]
    }

    /// `dst = *(src + off)`, zero-extended; `size` is the kernel's size field.
    pub fn load(size: u8, dst: u8, src: u8, off: i16) -> Insn {
        Insn { opcode: class::LDX | MODE_MEM | size, dst, src, off, imm: 0 }
    }

    /// `*(dst + off) = src`.
    pub fn store_reg(size: u8, dst: u8, off: i16, src: u8) -> Insn {
        Insn { opcode: class::STX | MODE_MEM | size, dst, src, off, imm: 0 }
    }

    /// `*(dst + off) = imm`, sign-extended.
    pub fn store_imm(size: u8, dst: u8, off: i16, imm: i32) -> Insn {
        Insn { opcode: class::ST | MODE_MEM | size, dst, src: 0, off, imm }
    }

    /// An atomic access; `imm` is the operation.
    pub fn atomic(size: u8, dst: u8, off: i16, src: u8, imm: i32) -> Insn {
        Insn { opcode: class::STX | MODE_ATOMIC | size, dst, src, off, imm }
    }

    /// `if dst op imm goto off`.
    pub fn jump_imm(op: JmpOp, wide: bool, dst: u8, imm: i32, off: i16) -> Insn {
        Insn { opcode: op as u8 | jump_class(wide), dst, src: 0, off, imm }
    }

    /// `if dst op src goto off`.
    pub fn jump_reg(op: JmpOp, wide: bool, dst: u8, src: u8, off: i16) -> Insn {
        Insn { opcode: op as u8 | jump_class(wide) | SRC_X, dst, src, off, imm: 0 }
    }

    /// The class bits.
    pub fn class(self) -> u8 {
        self.opcode & 0x07
    }
}

fn alu_class(wide: bool) -> u8 {
    if wide { class::ALU64 } else { class::ALU }
}

fn jump_class(wide: bool) -> u8 {
    if wide { class::JMP } else { class::JMP32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_as_the_kernel_documents() {
        // r1 = *(u32 *)(r6 + 16)
        assert_eq!(Insn::load(0, 1, 6, 16).to_bytes(), [0x61, 0x61, 16, 0, 0, 0, 0, 0]);
        // if w3 s< -1 goto +2
        let jump = Insn::jump_imm(JmpOp::Slt, false, 3, -1, 2);
        assert_eq!(jump.to_bytes(), [0xc6, 0x03, 2, 0, 0xff, 0xff, 0xff, 0xff]);
    }

    #[test]
    fn negation_is_an_involution() {
        for (a, b) in NEGATIONS {
            assert_eq!((a.negated(), b.negated()), (b, a));
            assert_eq!(JmpOp::from_bits(a as u8), Some(a));
        }
    }
}
