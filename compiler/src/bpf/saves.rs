//! Removes saves of registers that hold nothing.
//!
//! To move one spilled value to another slot the allocator takes a register; if
//! none is free at that point it saves one around the move, without asking
//! whether that register has ever been written. On other machines this is
//! harmless. The verifier refuses to read such a register ("R9 !read_ok"), so
//! the save and its reload must go: nobody needs the value.

use std::collections::HashSet;

use regalloc2::{Edit, Function, Inst, OperandKind, Output, PRegSet, ProgPoint};

use super::regalloc::blocks;
use super::vcode::{VCode, preg};

/// Removes the useless edits from `output`.
pub(super) fn remove_empty_saves(code: &VCode, output: &mut Output) {
    let mut entry: Vec<Option<PRegSet>> = vec![None; code.num_blocks()];
    entry[0] = Some(PRegSet::empty());
    let mut useless;
    loop {
        useless = HashSet::new();
        let mut changed = false;
        for block in blocks(code) {
            let Some(set) = entry[block.index()] else {
                continue;
            };
            let set = walk(code, output, block, set, &mut useless);
            for succ in code.block_succs(block) {
                changed |= meet(&mut entry[succ.index()], set);
            }
        }
        if !changed {
            break;
        }
    }
    let mut index = 0;
    output.edits.retain(|_| {
        index += 1;
        !useless.contains(&(index - 1))
    });
}

/// A register is initialised if it is on all ways into the block.
fn meet(entry: &mut Option<PRegSet>, set: PRegSet) -> bool {
    let met = entry.map_or(set, |mut old| {
        old.intersect_from(set);
        old
    });
    entry.replace(met) != Some(met)
}

/// The registers that hold something at the end of `block`, given those at its
/// start; adds the edits that save nothing to `useless`.
fn walk(
    code: &VCode,
    output: &Output,
    block: regalloc2::Block,
    mut set: PRegSet,
    useless: &mut HashSet<usize>,
) -> PRegSet {
    let range = code.block_insns(block);
    let start = ProgPoint::before(range.first());
    let mut next = output.edits.partition_point(|(point, _)| *point < start);
    let mut unsaved = HashSet::new();
    for inst in range.iter() {
        while let Some((point, Edit::Move { from, to })) = output.edits.get(next)
            && *point <= ProgPoint::before(inst)
        {
            let empty = match (from.as_reg(), from.as_stack()) {
                (Some(reg), _) => !set.contains(reg),
                (None, slot) => unsaved.contains(&slot),
            };
            if empty {
                useless.insert(next);
            }
            if let Some(reg) = to.as_reg() {
                set.remove(reg);
                if !empty {
                    set.add(reg);
                }
            } else if empty {
                unsaved.insert(to.as_stack());
            } else {
                unsaved.remove(&to.as_stack());
            }
            next += 1;
        }
        execute(code, output, inst, &mut set);
    }
    set
}

fn execute(code: &VCode, output: &Output, inst: Inst, set: &mut PRegSet) {
    let clobbers = code.inst_clobbers(inst);
    for reg in (0..10).map(preg).filter(|&reg| clobbers.contains(reg)) {
        set.remove(reg);
    }
    let operands = code.inst_operands(inst).iter().zip(output.inst_allocs(inst));
    for (_, alloc) in operands.filter(|(operand, _)| operand.kind() == OperandKind::Def) {
        if let Some(reg) = alloc.as_reg() {
            set.add(reg);
        }
    }
}
