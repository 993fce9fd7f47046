//! The dialect: which opcodes and types may appear, and from which stage on.
//!
//! The back end is total over what this module admits; anything else is a bug
//! of an earlier stage (or of a Cranelift upgrade) and is reported by name.

use cranelift_codegen::ir::{self, Opcode};

/// When a function is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// As the builder left it.
    Built,
    /// After the optimiser, which introduces opcodes of its own.
    Optimized,
}

/// What the builder emits.
pub(crate) const EMITTED: &[Opcode] = &[
    Opcode::Iconst,
    Opcode::SymbolValue,
    Opcode::StackAddr,
    Opcode::Load,
    Opcode::Store,
    Opcode::Uextend,
    Opcode::Sextend,
    Opcode::Ireduce,
    Opcode::Iadd,
    Opcode::Isub,
    Opcode::Imul,
    Opcode::Udiv,
    Opcode::Urem,
    Opcode::Sdiv,
    Opcode::Srem,
    Opcode::Band,
    Opcode::Bor,
    Opcode::Bxor,
    Opcode::Bnot,
    Opcode::Ineg,
    Opcode::Ishl,
    Opcode::Ushr,
    Opcode::Sshr,
    Opcode::Icmp,
    Opcode::Select,
    Opcode::Umin,
    Opcode::Umax,
    Opcode::Smin,
    Opcode::Smax,
    Opcode::Bswap,
    Opcode::AtomicRmw,
    Opcode::AtomicCas,
    Opcode::Call,
    Opcode::Jump,
    Opcode::Brif,
    Opcode::Return,
];

/// What the optimiser of Cranelift 0.135 makes out of those, and what it might
/// as well make: every further integer operation that `legalize` expands.
const INTRODUCED: &[Opcode] = &[
    Opcode::Umulhi,
    Opcode::Smulhi,
    Opcode::Bmask,
    Opcode::Iabs,
    Opcode::Rotl,
    Opcode::Rotr,
    Opcode::Bitrev,
    Opcode::Clz,
    Opcode::Cls,
    Opcode::Ctz,
    Opcode::Popcnt,
    Opcode::SelectSpectreGuard,
    Opcode::Nop,
    Opcode::Uload8,
    Opcode::Sload8,
    Opcode::Istore8,
    Opcode::Uload16,
    Opcode::Sload16,
    Opcode::Istore16,
    Opcode::Uload32,
    Opcode::Sload32,
    Opcode::Istore32,
];

/// Names the first instruction that does not belong to the dialect.
pub(crate) fn check(func: &ir::Function, stage: Stage) -> Result<(), String> {
    for block in func.layout.blocks() {
        for inst in func.layout.block_insts(block) {
            check_inst(func, inst, stage)?;
        }
    }
    let entry = func.layout.entry_block().ok_or("a function without blocks")?;
    let enters = |block| func.block_successors(block).any(|target| target == entry);
    match func.layout.blocks().find(|&block| enters(block)) {
        Some(block) => Err(format!("{block} branches to the entry block")),
        None => Ok(()),
    }
}

fn check_inst(func: &ir::Function, inst: ir::Inst, stage: Stage) -> Result<(), String> {
    let dfg = &func.dfg;
    let opcode = dfg.insts[inst].opcode();
    let known = EMITTED.contains(&opcode) || (stage == Stage::Optimized && INTRODUCED.contains(&opcode));
    if !known {
        return Err(format!("`{}` is not in our dialect of CLIF", dfg.display_inst(inst)));
    }
    let results = dfg.inst_results(inst).iter();
    match results.chain(dfg.inst_args(inst)).find(|&&value| !is_scalar(dfg.value_type(value))) {
        Some(&value) => Err(format!("`{}` has a value of type {}", dfg.display_inst(inst), dfg.value_type(value))),
        None => Ok(()),
    }
}

fn is_scalar(ty: ir::Type) -> bool {
    ty.is_int() && ty.bits() <= 64
}
