//! Machine code over virtual registers: what selection makes, what the
//! register allocator reads, what emission encodes.
//!
//! An instruction is an operation and a list of operands. The order of the
//! operands is part of the operation's definition (see [`Op`]), so that after
//! allocation the n-th allocation is the n-th operand's register. Stack slots
//! and immediates are part of the operation: the frame pointer is never
//! allocated.

use cranelift_codegen::ir::StackSlot;
use regalloc2::{Block, Inst, InstRange, Operand, OperandConstraint, PReg, PRegSet, RegClass, VReg};

use crate::clif::{SymbolId, Width};

use super::insn::{AluOp, JmpOp};

/// What a memory access is relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// A register: the next use operand.
    Reg,
    /// A stack slot.
    Slot(StackSlot),
}

/// A memory operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mem {
    pub(super) base: Base,
    pub(super) offset: i32,
    /// The symbol whose value `offset` is.
    pub(super) symbol: Option<SymbolId>,
    pub(super) width: Width,
}

/// The right-hand side of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Src {
    /// The next use operand.
    Reg,
    /// Sign-extended if the operation is wide.
    Imm(i32),
    /// An immediate that is the value of a symbol.
    Symbol(SymbolId, i32),
}

/// A comparison of a use operand with something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Test {
    pub(super) op: JmpOp,
    /// All 64 bits, or the low 32.
    pub(super) wide: bool,
    pub(super) rhs: Src,
}

/// What a `call` calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// By number.
    Helper(u32),
    /// A function of the module, or of the kernel.
    Symbol(SymbolId),
}

/// An operation; the comment gives its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// defs in r1, r2, ...: the function's parameters.
    Params,
    /// def = use, same register: no code. The allocator inserts a move if the
    /// value of the use lives on.
    Copy,
    /// def = use, which the allocator keeps apart; no code if it gave both the
    /// same register.
    Move,
    /// def: a constant.
    Const(i64),
    /// def: the value of a symbol.
    Symbol(SymbolId),
    /// def: an address in the stack frame.
    SlotAddr(StackSlot, i32),
    /// def = the low 32 bits of use.
    Mov32,
    /// def = use op rhs, def in the register of use.
    Alu { op: AluOp, wide: bool, rhs: Src },
    /// def = -use, same register.
    Neg { wide: bool },
    /// def = low bytes of use reversed, zero above, same register.
    Swap { bits: u32 },
    /// def, then base.
    Load(Mem),
    /// base, then value.
    Store(Mem, Src),
    /// base, then value.
    Atomic(Mem, AluOp),
    /// def in the register of value, then base, then value. The number is the
    /// instruction's immediate.
    AtomicFetch(Mem, i32),
    /// def in r0, then base, expected in r0, new.
    CompareExchange(Mem),
    /// def in r0, then arguments in r1, r2, ...
    Call(Target),
    /// def in the register of `otherwise`; `otherwise`, left, [right], [then].
    Select { test: Test, wide: bool, then: Src },
    /// No operands.
    Jump,
    /// left, [right]. The first successor is taken if the test holds.
    Branch(Test),
    /// use in r0.
    Return,
}

/// An operation with its operands.
#[derive(Clone, Debug)]
pub(super) struct VInst {
    pub(super) op: Op,
    pub(super) operands: Vec<Operand>,
    /// Source location, `u32::MAX` for none.
    pub(super) srcloc: u32,
}

/// A block; its last instruction is its only terminator.
#[derive(Clone, Debug, Default)]
pub(super) struct VBlock {
    pub(super) insts: Vec<VInst>,
    pub(super) params: Vec<VReg>,
    pub(super) succs: Vec<Block>,
    /// Arguments for the parameters of each successor.
    pub(super) args: Vec<Vec<VReg>>,
}

/// A function before it is frozen for allocation.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    /// In the order of emission; the first is the entry.
    pub(super) blocks: Vec<VBlock>,
    pub(super) vregs: usize,
}

impl Draft {
    pub(super) fn new_vreg(&mut self) -> VReg {
        self.vregs += 1;
        vreg(self.vregs - 1)
    }
}

/// A function as the allocator wants to see it.
#[derive(Clone, Debug)]
pub(super) struct VCode {
    pub(super) insts: Vec<VInst>,
    ranges: Vec<InstRange>,
    pub(super) blocks: Vec<VBlock>,
    preds: Vec<Vec<Block>>,
    vregs: usize,
}

impl VCode {
    /// Numbers all instructions.
    pub(super) fn new(draft: Draft) -> VCode {
        let mut code = VCode {
            insts: Vec::new(),
            ranges: Vec::new(),
            preds: vec![Vec::new(); draft.blocks.len()],
            blocks: draft.blocks,
            vregs: draft.vregs,
        };
        for (index, block) in code.blocks.iter_mut().enumerate() {
            let start = Inst::new(code.insts.len());
            code.insts.append(&mut block.insts);
            code.ranges.push(InstRange::new(start, Inst::new(code.insts.len())));
            for succ in &block.succs {
                code.preds[succ.index()].push(Block::new(index));
            }
        }
        code
    }

    /// Whether any instruction touches `slot`.
    pub(super) fn uses_slot(&self, slot: StackSlot) -> bool {
        self.insts.iter().any(|inst| match inst.op {
            Op::SlotAddr(used, _) => used == slot,
            Op::Load(mem)
            | Op::Store(mem, _)
            | Op::Atomic(mem, _)
            | Op::AtomicFetch(mem, _)
            | Op::CompareExchange(mem) => mem.base == Base::Slot(slot),
            _ => false,
        })
    }

    fn terminates(&self, inst: Inst) -> &Op {
        &self.insts[inst.index()].op
    }
}

impl regalloc2::Function for VCode {
    fn num_insts(&self) -> usize {
        self.insts.len()
    }

    fn num_blocks(&self) -> usize {
        self.blocks.len()
    }

    fn entry_block(&self) -> Block {
        Block::new(0)
    }

    fn block_insns(&self, block: Block) -> InstRange {
        self.ranges[block.index()]
    }

    fn block_succs(&self, block: Block) -> &[Block] {
        &self.blocks[block.index()].succs
    }

    fn block_preds(&self, block: Block) -> &[Block] {
        &self.preds[block.index()]
    }

    fn block_params(&self, block: Block) -> &[VReg] {
        &self.blocks[block.index()].params
    }

    fn is_ret(&self, inst: Inst) -> bool {
        matches!(self.terminates(inst), Op::Return)
    }

    fn is_branch(&self, inst: Inst) -> bool {
        matches!(self.terminates(inst), Op::Jump | Op::Branch(_))
    }

    fn branch_blockparams(&self, block: Block, _inst: Inst, succ: usize) -> &[VReg] {
        &self.blocks[block.index()].args[succ]
    }

    fn inst_operands(&self, inst: Inst) -> &[Operand] {
        &self.insts[inst.index()].operands
    }

    fn inst_clobbers(&self, inst: Inst) -> PRegSet {
        match self.insts[inst.index()].op {
            Op::Call(_) => (1..=5).fold(PRegSet::empty(), |set, reg| set.with(preg(reg))),
            _ => PRegSet::empty(),
        }
    }

    fn num_vregs(&self) -> usize {
        self.vregs
    }

    fn spillslot_size(&self, _class: RegClass) -> usize {
        1
    }
}

/// Machine register `number`.
pub(super) fn preg(number: usize) -> PReg {
    PReg::new(number, RegClass::Int)
}

/// Virtual register `number`.
pub(super) fn vreg(number: usize) -> VReg {
    VReg::new(number, RegClass::Int)
}

/// The machine register an operand is bound to, if any.
pub(super) fn fixed_register(operand: &Operand) -> Option<PReg> {
    match operand.constraint() {
        OperandConstraint::FixedReg(reg) => Some(reg),
        _ => None,
    }
}
