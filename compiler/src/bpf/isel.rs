//! Instruction selection: legal CLIF to machine code over virtual registers.
//!
//! Bottom-up: blocks in post-order, instructions backwards, and a pure
//! instruction is emitted only if something asked for its value. Folding,
//! sinking of constants and dead-code removal all come from this one rule:
//! whatever a user folds into itself is simply never asked for.
//!
//! Register invariant: a 32-bit value is zero-extended to 64 bits, so that
//! widening it is no instruction and the verifier sees the register that was
//! checked. Narrower values have undefined bits above, except where
//! `value::register_bits` says otherwise.

mod fold;
mod op;

use std::collections::HashMap;

use cranelift_codegen::ir::{self, BlockArg, Inst, InstructionData, Opcode, Value};
use regalloc2::{Operand, VReg};

use crate::clif::SymbolTable;

use super::value::{constant_of, register_bits, symbol_of};
use super::vcode::{Draft, Op, VBlock, VInst, preg};

/// Selects instructions for a legalised function.
pub(super) fn select(func: &ir::Function, symbols: &SymbolTable) -> Result<Draft, String> {
    let order = super::order::order(func);
    let mut isel = Isel::new(func, symbols, &order);
    for &block in order.iter().rev() {
        isel.block(block)?;
    }
    isel.params(order[0]);
    Ok(isel.finish(&order))
}

struct Isel<'a> {
    func: &'a ir::Function,
    symbols: &'a SymbolTable,
    draft: Draft,
    /// The register of each value that was asked for.
    regs: HashMap<Value, VReg>,
    /// Position of each block in the order of emission.
    index: HashMap<ir::Block, usize>,
    /// Finished blocks by position, each followed by the blocks on its edges.
    done: Vec<(VBlock, Vec<VBlock>)>,
    /// Instructions of the current block, last first.
    reversed: Vec<VInst>,
    /// Constants the instruction under selection needs before it.
    pending: Vec<VInst>,
    srcloc: u32,
}

impl<'a> Isel<'a> {
    fn new(func: &'a ir::Function, symbols: &'a SymbolTable, order: &[ir::Block]) -> Self {
        Isel {
            func,
            symbols,
            draft: Draft::default(),
            regs: HashMap::new(),
            index: order.iter().enumerate().map(|(at, &block)| (block, at)).collect(),
            done: vec![Default::default(); order.len()],
            reversed: Vec::new(),
            pending: Vec::new(),
            srcloc: u32::MAX,
        }
    }

    /// Emits instructions given in forward order, then what they need before.
    fn emit(&mut self, insts: impl IntoIterator<Item = (Op, Vec<Operand>)>) {
        let srcloc = self.srcloc;
        let at = self.reversed.len();
        let insts = insts.into_iter().map(|(op, operands)| VInst { op, operands, srcloc });
        self.reversed.extend(insts);
        self.reversed[at..].reverse();
        self.reversed.append(&mut self.pending);
    }

    /// The register that holds `value`; asking for it makes it exist.
    fn reg(&mut self, value: Value) -> VReg {
        let dfg = &self.func.dfg;
        if let Some(constant) = constant_of(dfg, value) {
            return self.remake(Op::Const(constant));
        }
        let value = self.without_casts(value);
        if let Some((_, symbol)) = symbol_of(self.func, value) {
            return self.remake(Op::Symbol(symbol));
        }
        if let Some((slot, offset)) = self.slot_address(value) {
            return self.remake(Op::SlotAddr(slot, offset));
        }
        let draft = &mut self.draft;
        *self.regs.entry(value).or_insert_with(|| draft.new_vreg())
    }

    /// Makes a constant in a register of its own, for one use.
    fn remake(&mut self, op: Op) -> VReg {
        let reg = self.draft.new_vreg();
        let operands = vec![Operand::reg_def(reg)];
        self.pending.push(VInst { op, operands, srcloc: self.srcloc });
        reg
    }

    fn def(&self, value: Value) -> Option<InstructionData> {
        super::value::def(&self.func.dfg, value)
    }

    /// The value whose register `value` shares because the conversion between
    /// them is no instruction.
    fn without_casts(&self, value: Value) -> Value {
        let dfg = &self.func.dfg;
        let value = dfg.resolve_aliases(value);
        let Some(InstructionData::Unary { opcode, arg }) = self.def(value) else {
            return value;
        };
        let to = dfg.value_type(value).bits();
        let from = dfg.value_type(arg).bits();
        let free = match opcode {
            Opcode::Uextend => from == 32 || register_bits(dfg, arg) <= from,
            Opcode::Ireduce => to < 32 || register_bits(dfg, arg) <= to,
            _ => false,
        };
        if free { self.without_casts(arg) } else { value }
    }

    /// The register the result of `inst` goes to, if anything asked for it.
    fn asked(&self, inst: Inst) -> Option<VReg> {
        let result = *self.func.dfg.inst_results(inst).first()?;
        self.regs.get(&result).copied()
    }

    fn block(&mut self, block: ir::Block) -> Result<(), String> {
        let mut vblock = VBlock::default();
        let mut edges = Vec::new();
        let insts: Vec<Inst> = self.func.layout.block_insts(block).collect();
        for &inst in insts.iter().rev() {
            self.srcloc = self.func.srcloc(inst).bits();
            match self.func.dfg.insts[inst] {
                InstructionData::Jump { destination, .. } => {
                    let (target, args) = self.destination(destination);
                    self.emit([(Op::Jump, vec![])]);
                    vblock.succs.push(target);
                    vblock.args.push(args);
                }
                InstructionData::Brif { arg, blocks, .. } => {
                    edges = blocks.map(|call| self.edge(call)).into();
                    let (test, operands) = self.test(arg);
                    self.emit([(Op::Branch(test), operands)]);
                }
                data => self.inst(inst, data)?,
            }
        }
        let params = self.func.dfg.block_params(block);
        if Some(block) != self.func.layout.entry_block() {
            vblock.params = params.iter().map(|&param| self.reg(param)).collect();
        }
        vblock.insts = self.take_block();
        self.done[self.index[&block]] = (vblock, edges);
        Ok(())
    }

    fn take_block(&mut self) -> Vec<VInst> {
        let mut insts = std::mem::take(&mut self.reversed);
        insts.reverse();
        insts
    }

    /// Where a jump goes, by position of the block, and with what.
    fn destination(&mut self, call: ir::BlockCall) -> (regalloc2::Block, Vec<VReg>) {
        let pool = &self.func.dfg.value_lists;
        let target = regalloc2::Block::new(self.index[&call.block(pool)]);
        let args: Vec<BlockArg> = call.args(pool).collect();
        let args = args.into_iter().filter_map(|arg| arg.as_value());
        let args = args.map(|arg| self.reg(arg)).collect();
        (target, args)
    }

    /// A block of its own for the edge of a branch: where the allocator may
    /// put moves, and where constants for the target's parameters are made.
    fn edge(&mut self, call: ir::BlockCall) -> VBlock {
        let outer = std::mem::take(&mut self.reversed);
        let (target, args) = self.destination(call);
        self.emit([(Op::Jump, vec![])]);
        let insts = self.take_block();
        self.reversed = outer;
        VBlock { insts, params: Vec::new(), succs: vec![target], args: vec![args] }
    }

    /// The parameters of the function, at the start of its entry block.
    fn params(&mut self, entry: ir::Block) {
        let params = self.func.dfg.block_params(entry).to_vec();
        let operands =
            params.iter().enumerate().map(|(at, &param)| Operand::reg_fixed_def(self.reg(param), preg(at + 1)));
        let operands = operands.collect();
        let inst = VInst { op: Op::Params, operands, srcloc: u32::MAX };
        self.done[0].0.insts.insert(0, inst);
    }

    /// Lays the blocks out, edge blocks after the block they leave, and turns
    /// positions among CLIF blocks into final ones.
    fn finish(mut self, order: &[ir::Block]) -> Draft {
        let mut start = Vec::with_capacity(order.len());
        let mut next = 0;
        for (_, edges) in &self.done {
            start.push(regalloc2::Block::new(next));
            next += 1 + edges.len();
        }
        for (mut block, mut edges) in self.done {
            let here = self.draft.blocks.len();
            for jump in edges.iter_mut().chain([&mut block]) {
                for target in &mut jump.succs {
                    *target = start[target.index()];
                }
            }
            for edge in 0..edges.len() {
                block.succs.push(regalloc2::Block::new(here + 1 + edge));
                block.args.push(Vec::new());
            }
            self.draft.blocks.push(block);
            self.draft.blocks.append(&mut edges);
        }
        self.draft
    }
}
