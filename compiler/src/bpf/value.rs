//! Facts about CLIF values that legalisation and selection share.

use cranelift_codegen::ir::{self, DataFlowGraph, InstructionData, Opcode, Type, Value};

use crate::clif::{Namespace, SymbolId};

/// The instruction that defines `value`, unless it is a block parameter.
pub(super) fn def(dfg: &DataFlowGraph, value: Value) -> Option<InstructionData> {
    let inst = dfg.value_def(dfg.resolve_aliases(value)).inst()?;
    Some(dfg.insts[inst])
}

/// `bits` cut to the width of `ty`, zero above.
pub(super) fn mask(ty: Type, bits: i64) -> i64 {
    match ty.bits() {
        64 => bits,
        width => bits & ((1 << width) - 1),
    }
}

/// The constant that `value` is, zero-extended from its type.
pub(super) fn constant_of(dfg: &DataFlowGraph, value: Value) -> Option<i64> {
    let ty = dfg.value_type(value);
    match def(dfg, value)? {
        InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => Some(mask(ty, imm.bits())),
        InstructionData::Unary { opcode, arg } => {
            let from = dfg.value_type(arg).bits();
            let inner = constant_of(dfg, arg)?;
            match opcode {
                Opcode::Uextend => Some(inner),
                Opcode::Ireduce => Some(mask(ty, inner)),
                Opcode::Sextend => Some(mask(ty, inner << (64 - from) >> (64 - from))),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The symbol that `value` is.
pub(super) fn symbol_of(func: &ir::Function, value: Value) -> Option<(Namespace, SymbolId)> {
    let InstructionData::UnaryGlobalValue { global_value, .. } = def(&func.dfg, value)? else {
        return None;
    };
    let ir::GlobalValueData::Symbol { name, offset, .. } = &func.global_values[global_value] else {
        return None;
    };
    let (namespace, index) = external_name(func, name)?;
    (offset.bits() == 0).then_some((namespace, SymbolId(index)))
}

/// Namespace and index of an external name.
pub(super) fn external_name(func: &ir::Function, name: &ir::ExternalName) -> Option<(Namespace, u32)> {
    let ir::ExternalName::User(reference) = *name else {
        return None;
    };
    let name = func.params.user_named_funcs().get(reference)?;
    Some((Namespace::from_number(name.namespace)?, name.index))
}

/// How many low bits of the register that selection puts `value` in can be
/// non-zero. At least 32 for operations on narrow types, which selection
/// performs on 32 bits without cutting the result down.
pub(super) fn register_bits(dfg: &DataFlowGraph, value: Value) -> u32 {
    significant_bits(dfg, value, 6)
}

fn significant_bits(dfg: &DataFlowGraph, value: Value, depth: u32) -> u32 {
    if let Some(constant) = constant_of(dfg, value) {
        return 64 - constant.leading_zeros();
    }
    let ty = dfg.value_type(value);
    let bits = |value| match depth {
        0 => 64,
        _ => significant_bits(dfg, value, depth - 1),
    };
    let unknown = match ty.bits() {
        32 => 32,
        _ => 64,
    };
    match def(dfg, value) {
        None => unknown,
        Some(InstructionData::Load { .. }) => ty.bits(),
        Some(InstructionData::IntCompare { .. }) => 1,
        Some(InstructionData::Unary { opcode, arg }) => match opcode {
            Opcode::Uextend => bits(arg).min(dfg.value_type(arg).bits()),
            // Cutting down to 8 or 16 bits is not an instruction.
            Opcode::Ireduce if ty.bits() < 32 => bits(arg),
            Opcode::Ireduce => bits(arg).min(32),
            Opcode::Bswap => ty.bits(),
            _ => unknown.min(operation_bits(ty)),
        },
        Some(InstructionData::Binary { opcode, args: [x, y] }) => match opcode {
            Opcode::Band => bits(x).min(bits(y)).min(operation_bits(ty)),
            Opcode::Bor | Opcode::Bxor => bits(x).max(bits(y)).min(operation_bits(ty)),
            Opcode::Ushr if ty.bits() >= 32 => match constant_of(dfg, y) {
                Some(amount) => {
                    let amount = amount as u32 % ty.bits();
                    bits(x).min(ty.bits()).saturating_sub(amount)
                }
                None => bits(x).min(ty.bits()),
            },
            _ => operation_bits(ty),
        },
        Some(InstructionData::Ternary { opcode: Opcode::Select, args: [_, x, y] }) => bits(x).max(bits(y)),
        Some(InstructionData::AtomicRmw { .. } | InstructionData::AtomicCas { .. }) => ty.bits(),
        Some(_) => unknown,
    }
}

/// The width in which selection performs an operation on `ty`.
fn operation_bits(ty: Type) -> u32 {
    ty.bits().max(32)
}
