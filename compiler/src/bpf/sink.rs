//! Moves instructions down, nearer to what uses them: the steps of loop counters
//! to the end of their block, and in long blocks what has one use, to that use.
//!
//! The optimiser computes what a jump passes on in the order of the target's
//! parameters. If the counter is stepped before its last use, its old and new
//! value live at the same time and need two registers and two moves per round. Of a long sum it
//! computes all parts before it adds the first two, which no stack has room for.

use std::collections::HashMap;

use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{self, Inst, InstructionData, Opcode, Value};

use super::value::constant_of;

/// Reorders in place.
pub(super) fn sink_steps(func: &mut ir::Function) {
    let users = users(func);
    let blocks: Vec<ir::Block> = func.layout.blocks().collect();
    for block in blocks {
        let Some(end) = func.layout.last_inst(block) else {
            continue;
        };
        let insts: Vec<Inst> = func.layout.block_insts(block).collect();
        for inst in insts {
            if is_step(func, inst) && only_user(func, &users, inst) == Some(end) {
                func.layout.remove_inst(inst);
                func.layout.insert_inst(inst, end);
            }
        }
    }
}

/// Blocks of fewer instructions keep the optimiser's order: registers suffice.
const LONG_BLOCK: usize = 128;

/// In long blocks, moves pure instructions to their only use, where that makes no
/// other value live longer than theirs did. Works upwards, so that what an
/// instruction needs follows it.
pub(super) fn sink_single_uses(func: &mut ir::Function) {
    let blocks: Vec<ir::Block> = func.layout.blocks().collect();
    if blocks.iter().all(|&block| func.layout.block_insts(block).nth(LONG_BLOCK).is_none()) {
        return;
    }
    let users = users(func);
    // Into another block only where none can run more often than its dominators.
    let anywhere = !has_loops(func);
    for block in blocks.into_iter().rev() {
        let insts: Vec<Inst> = func.layout.block_insts(block).collect();
        if insts.len() <= LONG_BLOCK {
            continue;
        }
        for &inst in insts.iter().rev() {
            if !is_cheap_to_delay(func, inst) {
                continue;
            }
            let Some(user) = only_user(func, &users, inst) else { continue };
            let near = anywhere || func.layout.inst_block(user) == Some(block);
            if near && func.layout.next_inst(inst) != Some(user) {
                func.layout.remove_inst(inst);
                func.layout.insert_inst(inst, user);
            }
        }
    }
}

fn has_loops(func: &ir::Function) -> bool {
    let cfg = ControlFlowGraph::with_function(func);
    let domtree = DominatorTree::with_function(func, &cfg);
    let order: HashMap<ir::Block, usize> = domtree.cfg_rpo().enumerate().map(|(at, &block)| (block, at)).collect();
    order.iter().any(|(&block, at)| cfg.succ_iter(block).any(|next| order.get(&next).is_some_and(|to| to <= at)))
}

/// Whether `inst` is pure and computes from at most one value that is no constant.
fn is_cheap_to_delay(func: &ir::Function, inst: Inst) -> bool {
    let dfg = &func.dfg;
    let opcode = dfg.insts[inst].opcode();
    // BPF defines what division by zero gives.
    let division = matches!(opcode, Opcode::Udiv | Opcode::Sdiv | Opcode::Urem | Opcode::Srem);
    let pure = !opcode.can_load()
        && !opcode.can_store()
        && (division || !opcode.can_trap())
        && !opcode.other_side_effects()
        && !opcode.is_call()
        && !opcode.is_terminator()
        && dfg.inst_results(inst).len() == 1;
    let opaque = |value| constant_of(dfg, value).is_some() || super::value::symbol_of(func, value).is_some();
    pure && dfg.inst_values(inst).filter(|&value| !opaque(value)).count() <= 1
}

/// Whether `inst` is a block parameter combined with a constant.
fn is_step(func: &ir::Function, inst: Inst) -> bool {
    let dfg = &func.dfg;
    let InstructionData::Binary { args: [x, y], .. } = dfg.insts[inst] else {
        return false;
    };
    let is_param = |value| dfg.value_def(dfg.resolve_aliases(value)).inst().is_none();
    let is_constant = |value| constant_of(dfg, value).is_some();
    (is_param(x) && is_constant(y)) || (is_constant(x) && is_param(y))
}

/// Which instructions use each value, once each.
fn users(func: &ir::Function) -> HashMap<Value, Vec<Inst>> {
    let mut users: HashMap<Value, Vec<Inst>> = HashMap::new();
    for block in func.layout.blocks() {
        for inst in func.layout.block_insts(block) {
            for value in func.dfg.inst_values(inst) {
                let users = users.entry(func.dfg.resolve_aliases(value)).or_default();
                if users.last() != Some(&inst) {
                    users.push(inst);
                }
            }
        }
    }
    users
}

fn only_user(func: &ir::Function, users: &HashMap<Value, Vec<Inst>>, inst: Inst) -> Option<Inst> {
    match users.get(&func.dfg.first_result(inst))?.as_slice() {
        &[user] => Some(user),
        _ => None,
    }
}
