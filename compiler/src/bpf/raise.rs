//! Moves what combines two values up to where the later of them comes to be.
//!
//! In: legal CLIF with equal values merged. Out: the same, in another order.
//!
//! The optimiser computes a value in front of its first use. Of a sum of many map
//! lookups that leaves nothing but additions behind the last lookup, and the result
//! of each lookup lives until then: no stack has room for that. Where both values
//! have no other use, to combine them at once needs one place less.
//!
//! Constants are no values in this sense: a masked or otherwise bounded value must
//! stay near its use, as verifiers before 5.16 forget the bounds of what is spilled.

use std::collections::HashMap;

use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{self, Inst, InstructionData, Opcode, Value};
use cranelift_codegen::loop_analysis::LoopAnalysis;

use super::value::{constant_of, symbol_of};

/// With fewer combinations than this all fit somewhere, and the order stays.
const FEW: usize = 12;

/// Reorders in place.
pub(super) fn raise_combinations(func: &mut ir::Function) {
    let list = combinations(func);
    if list.len() < FEW {
        return;
    }
    let cfg = ControlFlowGraph::with_function(func);
    let domtree = DominatorTree::with_function(func, &cfg);
    let mut loops = LoopAnalysis::new();
    loops.compute(func, &cfg, &domtree);
    for inst in list {
        let InstructionData::Binary { args: [x, y], .. } = func.dfg.insts[inst] else { continue };
        let (Some(x), Some(y)) = (place(func, x), place(func, y)) else { continue };
        let at = if comes_before(func, &domtree, x, y) { y } else { x };
        let Some(here) = func.layout.inst_block(inst) else { continue };
        if loops.innermost_loop(at.0) != loops.innermost_loop(here) {
            continue;
        }
        let next = match at.1 {
            Some(inst) => func.layout.next_inst(inst),
            None => func.layout.first_inst(at.0),
        };
        if let Some(next) = next.filter(|&next| next != inst) {
            func.layout.remove_inst(inst);
            func.layout.insert_inst(inst, next);
        }
    }
}

/// What combines two values without another use, users behind what they use.
fn combinations(func: &ir::Function) -> Vec<Inst> {
    let mut uses: HashMap<Value, usize> = HashMap::new();
    let insts = || func.layout.blocks().flat_map(|block| func.layout.block_insts(block));
    for value in insts().flat_map(|inst| func.dfg.inst_values(inst)) {
        *uses.entry(func.dfg.resolve_aliases(value)).or_default() += 1;
    }
    let single = |value: Value| {
        let opaque = constant_of(&func.dfg, value).is_some() || symbol_of(func, value).is_some();
        !opaque && uses.get(&func.dfg.resolve_aliases(value)) == Some(&1)
    };
    let wanted = |inst: &Inst| match func.dfg.insts[*inst] {
        InstructionData::Binary {
            opcode: Opcode::Iadd | Opcode::Isub | Opcode::Imul | Opcode::Bor | Opcode::Bxor | Opcode::Band,
            args,
        } => args.into_iter().all(single),
        _ => false,
    };
    insts().filter(wanted).collect()
}

/// Where a value comes to be: its block, and its instruction unless it is a parameter.
fn place(func: &ir::Function, value: Value) -> Option<(ir::Block, Option<Inst>)> {
    match func.dfg.value_def(func.dfg.resolve_aliases(value)) {
        ir::ValueDef::Result(inst, _) => Some((func.layout.inst_block(inst)?, Some(inst))),
        ir::ValueDef::Param(block, _) => Some((block, None)),
        ir::ValueDef::Union(..) => None,
    }
}

/// Both dominate a common user, so that one of them dominates the other.
fn comes_before(
    func: &ir::Function,
    domtree: &DominatorTree,
    x: (ir::Block, Option<Inst>),
    y: (ir::Block, Option<Inst>),
) -> bool {
    if x.0 != y.0 {
        return domtree.block_dominates(x.0, y.0);
    }
    match (x.1, y.1) {
        (None, _) => true,
        (_, None) => false,
        (Some(x), Some(y)) => func.layout.pp_cmp(x, y).is_lt(),
    }
}
