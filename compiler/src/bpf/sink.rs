//! Moves the steps of loop counters to the end of their block.
//!
//! The optimiser computes what a jump passes on in the order of the target's
//! parameters. If the counter is stepped before its last use, its old and new
//! value live at the same time and need two registers and two moves per round.

use std::collections::HashMap;

use cranelift_codegen::ir::{self, Inst, InstructionData, Value};

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
