//! Register allocation: regalloc2, and the copies it needs to do well.
//!
//! r0 to r9 are allocatable, r10 is the frame pointer. Calls take arguments in
//! r1 to r5, return in r0 and clobber r0 to r5.
//!
//! A long-lived value with a fixed-register operand makes the allocator split
//! its live range around every call. So values that live across a call never
//! have such operands: a copy does, which lives only from the copy to the call.
//! The allocator treats values that flow into each other through two-address
//! operations and block parameters as one; so do we.

use std::collections::HashSet;

use regalloc2::{Block, MachineEnv, Operand, OperandConstraint, OperandKind, Output, PRegSet, RegallocOptions, VReg};

use super::insn::AluOp;
use super::vcode::{Draft, Op, Src, VBlock, VCode, VInst, fixed_register, preg, vreg};

/// Registers for everything, and the moves between them.
pub(super) fn allocate(mut draft: Draft) -> Result<(VCode, Output), String> {
    insert_copies(&mut draft);
    let code = VCode::new(draft);
    let options = RegallocOptions { validate_ssa: cfg!(debug_assertions), ..Default::default() };
    let env = machine_env();
    let mut output = regalloc2::run(&code, &env, &options).map_err(|error| error.to_string())?;
    #[cfg(test)]
    super::check::check(&code, &env, &output)?;
    super::saves::remove_empty_saves(&code, &mut output);
    Ok((code, output))
}

fn machine_env() -> MachineEnv {
    let set = |from: usize, to: usize| (from..=to).fold(PRegSet::empty(), |set, reg| set.with(preg(reg)));
    let none = PRegSet::empty();
    MachineEnv {
        preferred_regs_by_class: [set(0, 5), none, none],
        non_preferred_regs_by_class: [set(6, 9), none, none],
        scratch_by_class: [None; 3],
        fixed_stack_slots: Vec::new(),
    }
}

/// A set of many virtual registers.
struct RegSet(Vec<u64>);

impl RegSet {
    fn new(vregs: usize) -> RegSet {
        RegSet(vec![0; vregs.div_ceil(64)])
    }

    fn insert(&mut self, reg: VReg) {
        self.0[reg.vreg() / 64] |= 1 << (reg.vreg() % 64);
    }

    fn contains(&self, reg: VReg) -> bool {
        self.0[reg.vreg() / 64] & (1 << (reg.vreg() % 64)) != 0
    }
}

/// The virtual registers that are live somewhere, in order. There is one such
/// set for every block, so its size must not grow with the function.
#[derive(Clone, Default, PartialEq, Eq)]
struct Live(Vec<VReg>);

impl Live {
    fn insert(&mut self, reg: VReg) {
        if let Err(at) = self.0.binary_search(&reg) {
            self.0.insert(at, reg);
        }
    }

    fn remove(&mut self, reg: VReg) {
        if let Ok(at) = self.0.binary_search(&reg) {
            self.0.remove(at);
        }
    }

    fn contains(&self, reg: VReg) -> bool {
        self.0.binary_search(&reg).is_ok()
    }

    /// Adds all of `other`.
    fn unite(&mut self, other: &Live) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
        } else {
            self.0.extend_from_slice(&other.0);
            // Two runs that are in order already: the sort merges them.
            self.0.sort();
            self.0.dedup();
        }
    }
}

/// What is live at the end of each block, arguments of its jump included.
fn live_out(draft: &Draft) -> Vec<Live> {
    let mut live_in = vec![Live::default(); draft.blocks.len()];
    let mut live_out = live_in.clone();
    let mut changed = true;
    while changed {
        changed = false;
        for (index, block) in draft.blocks.iter().enumerate().rev() {
            let mut live = block_end(block, &live_in);
            live_out[index].clone_from(&live);
            for inst in block.insts.iter().rev() {
                step_back(&mut live, &inst.operands);
            }
            for &param in &block.params {
                live.remove(param);
            }
            if live != live_in[index] {
                live_in[index] = live;
                changed = true;
            }
        }
    }
    live_out
}

fn block_end(block: &VBlock, live_in: &[Live]) -> Live {
    let mut live = Live::default();
    for succ in &block.succs {
        live.unite(&live_in[succ.index()]);
    }
    for &arg in block.args.iter().flatten() {
        live.insert(arg);
    }
    live
}

/// From what is live after an instruction to what is live before it.
fn step_back(live: &mut Live, operands: &[Operand]) {
    for operand in operands.iter().filter(|operand| is_def(operand)) {
        live.remove(operand.vreg());
    }
    for operand in operands.iter().filter(|operand| !is_def(operand)) {
        live.insert(operand.vreg());
    }
}

fn is_def(operand: &Operand) -> bool {
    operand.kind() == OperandKind::Def
}

/// Everything that lives across some call.
fn live_over_calls(draft: &Draft, live_out: &[Live]) -> RegSet {
    let mut over = RegSet::new(draft.vregs);
    for (block, live_out) in draft.blocks.iter().zip(live_out) {
        let mut live = live_out.clone();
        for inst in block.insts.iter().rev() {
            if matches!(inst.op, Op::Call(_)) {
                let defined = |reg: &VReg| inst.operands.iter().any(|o| is_def(o) && o.vreg() == *reg);
                live.0.iter().filter(|reg| !defined(reg)).for_each(|&reg| over.insert(reg));
            }
            step_back(&mut live, &inst.operands);
        }
    }
    over
}

/// Values that the allocator is likely to keep in one register: the result of a
/// two-address operation with the operand it overwrites, a block parameter with
/// its arguments.
struct Webs(Vec<usize>);

impl Webs {
    fn new(draft: &Draft, live_out: &[Live]) -> Webs {
        let mut webs = Webs((0..draft.vregs).collect());
        for (block, live_out) in draft.blocks.iter().zip(live_out) {
            for (succ, args) in block.succs.iter().zip(&block.args) {
                for (&arg, &param) in args.iter().zip(&draft.blocks[succ.index()].params) {
                    webs.unite(arg, param);
                }
            }
            let mut live = live_out.clone();
            for inst in block.insts.iter().rev() {
                if let Some((def, reused)) = reuse(inst)
                    && !live.contains(reused)
                {
                    webs.unite(def, reused);
                }
                step_back(&mut live, &inst.operands);
            }
        }
        // Every value's root, as no value leads to a greater one.
        for at in 0..webs.0.len() {
            webs.0[at] = webs.0[webs.0[at]];
        }
        webs
    }

    fn root(&mut self, reg: VReg) -> usize {
        let mut at = reg.vreg();
        while self.0[at] != at {
            self.0[at] = self.0[self.0[at]];
            at = self.0[at];
        }
        at
    }

    fn unite(&mut self, a: VReg, b: VReg) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }

    /// All values that share a web with one of `set`.
    fn close(&self, set: &RegSet) -> RegSet {
        let regs = || (0..self.0.len()).map(vreg);
        let mut roots = RegSet(vec![0; set.0.len()]);
        let root = |reg: VReg| vreg(self.0[reg.vreg()]);
        regs().filter(|&reg| set.contains(reg)).for_each(|reg| roots.insert(root(reg)));
        let mut closed = RegSet(vec![0; set.0.len()]);
        regs().filter(|&reg| roots.contains(root(reg))).for_each(|reg| closed.insert(reg));
        closed
    }
}

/// The result of a two-address operation and the operand it overwrites.
fn reuse(inst: &VInst) -> Option<(VReg, VReg)> {
    inst.operands.iter().find_map(|operand| match operand.constraint() {
        OperandConstraint::Reuse(index) => Some((operand.vreg(), inst.operands[index].vreg())),
        _ => None,
    })
}

/// Copies between long-lived values and fixed operands; and, where an operation
/// commutes, lets it overwrite the operand that dies.
fn insert_copies(draft: &mut Draft) {
    let live_out = live_out(draft);
    for_each_inst(draft, &live_out, |inst, after, _| {
        overwrite_dying_operand(inst, after);
        (Vec::new(), Vec::new())
    });
    let over = live_over_calls(draft, &live_out);
    let over = Webs::new(draft, &live_out).close(&over);
    for_each_inst(draft, &live_out, |inst, after, next| copies(inst, after, &over, next));
}

/// Rewrites each instruction, given what is live after it and the next free
/// register; puts what `rewrite` returns before and after it.
fn for_each_inst(
    draft: &mut Draft,
    live_out: &[Live],
    mut rewrite: impl FnMut(&mut VInst, &Live, &mut usize) -> (Vec<VInst>, Vec<VInst>),
) {
    let mut next = draft.vregs;
    for (block, live_out) in draft.blocks.iter_mut().zip(live_out) {
        let mut live = live_out.clone();
        let mut reversed = Vec::with_capacity(block.insts.len());
        for mut inst in std::mem::take(&mut block.insts).into_iter().rev() {
            let operands = inst.operands.clone();
            let (before, later) = rewrite(&mut inst, &live, &mut next);
            step_back(&mut live, &operands);
            reversed.extend(later);
            reversed.push(inst);
            reversed.extend(before);
        }
        reversed.reverse();
        block.insts = reversed;
    }
    draft.vregs = next;
}

/// Replaces the fixed operands of `inst` where the value lives on elsewhere;
/// gives the copies that go before and after the instruction.
fn copies(inst: &mut VInst, live_after: &Live, over_calls: &RegSet, next: &mut usize) -> (Vec<VInst>, Vec<VInst>) {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut fixed = HashSet::new();
    let srcloc = inst.srcloc;
    for operand in &mut inst.operands {
        let Some(reg) = fixed_register(operand) else {
            continue;
        };
        let value = operand.vreg();
        let twice = !fixed.insert(value);
        let lives_on = over_calls.contains(value) || (!is_def(operand) && live_after.contains(value));
        if !lives_on && !twice {
            continue;
        }
        let copy = vreg(*next);
        *next += 1;
        let (def, source, list) = match operand.kind() {
            OperandKind::Def => (value, copy, &mut after),
            OperandKind::Use => (copy, value, &mut before),
        };
        *operand = Operand::new(copy, operand.constraint(), operand.kind(), operand.pos());
        debug_assert_eq!(fixed_register(operand), Some(reg));
        let operands = vec![Operand::reg_def(def), Operand::reg_use(source)];
        list.push(VInst { op: Op::Move, operands, srcloc });
    }
    (before, after)
}

/// `a = a op b` needs a move first if `a` lives on. Sums are left alone: they
/// may be a pointer and an index, and the verifier prefers the pointer first.
fn overwrite_dying_operand(inst: &mut VInst, live_after: &Live) {
    let Op::Alu { op: AluOp::Mul | AluOp::And | AluOp::Or | AluOp::Xor, rhs: Src::Reg, .. } = inst.op else {
        return;
    };
    let (left, right) = (inst.operands[1].vreg(), inst.operands[2].vreg());
    if live_after.contains(left) && !live_after.contains(right) {
        inst.operands[1] = Operand::reg_use(right);
        inst.operands[2] = Operand::reg_use(left);
    }
}

/// The blocks of `code`, in order.
pub(super) fn blocks(code: &VCode) -> impl Iterator<Item = Block> {
    (0..code.blocks.len()).map(Block::new)
}
