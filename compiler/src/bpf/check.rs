//! Checks an allocation with regalloc2's checker, which shares no code with the
//! allocator: it proves symbolically that every operand finds its value.
//!
//! Built in tests only: the checker is a feature of the development dependency.

use regalloc2::checker::Checker;
use regalloc2::{MachineEnv, Output};

use super::vcode::VCode;

/// Says what is wrong with `output`, if anything.
pub(super) fn check(code: &VCode, env: &MachineEnv, output: &Output) -> Result<(), String> {
    let mut checker = Checker::new(code, env);
    checker.prepare(output);
    checker.run().map_err(|errors| format!("wrong allocation: {errors:?}"))
}
