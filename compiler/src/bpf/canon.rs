//! Merges equal computations again before selection.
//!
//! The optimiser recomputes cheap operations with a constant operand in every
//! block that uses them. For BPF that is harmful: the verifier then checks one
//! register and sees another one used. One walk down the dominator tree replaces
//! each pure instruction by an equal one that dominates it.

use std::collections::HashMap;

use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{self, Inst, InstructionData, Opcode, Type, Value};

/// What makes two instructions equal: operation and arguments (constants by
/// value), controlling type, result type.
type Key = (InstructionData, Type, Type);

/// Merges in place.
pub(super) fn merge_clones(func: &mut ir::Function) {
    let cfg = ControlFlowGraph::with_function(func);
    let domtree = DominatorTree::with_function(func, &cfg);
    let mut seen: HashMap<Key, Vec<Inst>> = HashMap::new();
    let mut constants: HashMap<Key, Value> = HashMap::new();
    for block in preorder(func, &domtree) {
        let insts: Vec<Inst> = func.layout.block_insts(block).collect();
        for inst in insts {
            let Some(mut key) = key(func, inst) else {
                continue;
            };
            let result = func.dfg.first_result(inst);
            if is_constant(key.0) {
                constants.entry(key).or_insert(result);
                continue;
            }
            let dfg = &func.dfg;
            // None of these formats keeps its arguments in a pool.
            for arg in key.0.arguments_mut(&mut ir::ValueListPool::new()) {
                *arg = representative(dfg, &constants, *arg);
            }
            let equals = seen.entry(key).or_default();
            // What does not dominate this block dominates none that follows.
            while let Some(&last) = equals.last()
                && !func.layout.inst_block(last).is_some_and(|home| domtree.block_dominates(home, block))
            {
                equals.pop();
            }
            match equals.last().copied() {
                Some(leader) => {
                    let value = func.dfg.first_result(leader);
                    func.dfg.clear_results(inst);
                    func.dfg.change_to_alias(result, value);
                    func.layout.remove_inst(inst);
                }
                None => equals.push(inst),
            }
        }
    }
    func.dfg.resolve_all_aliases();
}

/// The blocks in such an order that what a block dominates follows it at once.
fn preorder(func: &ir::Function, domtree: &DominatorTree) -> Vec<ir::Block> {
    let mut order = Vec::new();
    let mut stack: Vec<ir::Block> = func.layout.entry_block().into_iter().collect();
    while let Some(block) = stack.pop() {
        order.push(block);
        let children = stack.len();
        stack.extend(domtree.children(block));
        stack[children..].reverse();
    }
    order
}

/// The key of a pure instruction with arguments as they stand.
fn key(func: &ir::Function, inst: Inst) -> Option<Key> {
    let dfg = &func.dfg;
    let data = dfg.insts[inst];
    let pure = matches!(
        data,
        InstructionData::Unary { .. }
            | InstructionData::Binary { .. }
            | InstructionData::IntCompare { .. }
            | InstructionData::Ternary { .. }
            | InstructionData::UnaryImm { .. }
            | InstructionData::UnaryGlobalValue { .. }
            | InstructionData::StackAddr { .. }
    );
    let result_ty = dfg.inst_results(inst).first().map(|&result| dfg.value_type(result))?;
    pure.then(|| (data, dfg.ctrl_typevar(inst), result_ty))
}

/// Whether selection remakes the value at each use anyway.
fn is_constant(data: InstructionData) -> bool {
    matches!(data.opcode(), Opcode::Iconst | Opcode::SymbolValue | Opcode::StackAddr)
}

/// The one value that stands for all equal constants, or the value itself.
fn representative(dfg: &ir::DataFlowGraph, constants: &HashMap<Key, Value>, value: Value) -> Value {
    let value = dfg.resolve_aliases(value);
    let Some(inst) = dfg.value_def(value).inst() else {
        return value;
    };
    let key = (dfg.insts[inst], dfg.ctrl_typevar(inst), dfg.value_type(value));
    constants.get(&key).copied().unwrap_or(value)
}
