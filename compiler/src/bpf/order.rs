//! The order in which the blocks of a function stand.
//!
//! Input: legal CLIF. Output: its blocks in reverse post-order, users behind what
//! they use but for loops. The verifier follows what falls through first, and
//! leaves out what a state it has seen covers (`is_state_visited`,
//! kernel/bpf/verifier.c). An entry that was found brings unknown values, a missing
//! one zeros: unknown values cover zeros, not the other way round. So the arm with
//! the entry stands first; otherwise each lookup would double all that follows.

use cranelift_codegen::entity::EntitySet;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, DataFlowGraph, Inst, InstructionData, Opcode, Value};

use crate::clif::Namespace;
use crate::helper::Helper;

use super::value::{constant_of, def, external_name};

/// Helpers whose result is an address or null.
const FINDERS: &[Helper] = &[Helper::MapLookupElem, Helper::MapLookupPercpuElem, Helper::RingbufReserve];

/// Conversions and parameters of blocks looked through for a call.
const MOST_STEPS: usize = 4;

/// The blocks that can be reached, in the order of emission.
pub(super) fn order(func: &ir::Function) -> Vec<ir::Block> {
    let mut seen = EntitySet::new();
    let mut list = Vec::new();
    // With a mark: leave the block.
    let mut work: Vec<(ir::Block, bool)> = func.layout.entry_block().map(|b| (b, false)).into_iter().collect();
    while let Some((block, leave)) = work.pop() {
        if leave {
            list.push(block);
        } else if seen.insert(block) {
            work.push((block, true));
            // What is visited last stands first, as in Cranelift's own order the last successor does.
            let mut next: Vec<ir::Block> = func.block_successors(block).collect();
            if func.layout.last_inst(block).is_some_and(|inst| found_goes_first(func, inst)) {
                next.reverse();
            }
            work.extend(next.into_iter().rev().map(|b| (b, false)));
        }
    }
    list.reverse();
    list
}

/// Whether a branch goes to its first target with what a helper found.
fn found_goes_first(func: &ir::Function, inst: Inst) -> bool {
    let InstructionData::Brif { arg, .. } = func.dfg.insts[inst] else { return false };
    let (value, found_first) = match def(&func.dfg, arg) {
        Some(InstructionData::IntCompare { cond, args: [value, zero], .. })
            if constant_of(&func.dfg, zero) == Some(0) && matches!(cond, IntCC::Equal | IntCC::NotEqual) =>
        {
            (value, cond == IntCC::NotEqual)
        }
        _ => (arg, true),
    };
    found_first && is_found(func, value, MOST_STEPS)
}

/// Whether a value is what a helper found.
fn is_found(func: &ir::Function, value: Value, steps: usize) -> bool {
    let dfg: &DataFlowGraph = &func.dfg;
    if steps == 0 {
        return false;
    }
    match def(dfg, value) {
        Some(InstructionData::Call { func_ref, .. }) => {
            let name = external_name(func, &dfg.ext_funcs[func_ref].name);
            matches!(name, Some((Namespace::Helper, id)) if FINDERS.iter().any(|&helper| helper as u32 == id))
        }
        Some(InstructionData::Unary { opcode: Opcode::Uextend | Opcode::Ireduce, arg }) => {
            is_found(func, arg, steps - 1)
        }
        _ => false,
    }
}
