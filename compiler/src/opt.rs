//! The middle end: CLIF in, optimised CLIF out.
//!
//! Drives Cranelift's own passes, which need no target: global value
//! numbering, hoisting, folding, redundant loads, dead stores. It adds nothing
//! but the checks around them: the CLIF verifier runs before and after (it is
//! cheap enough to stay on in release builds), and the dialect checker refuses
//! any opcode the back end is not prepared for, by name.

use std::fmt;

use cranelift_codegen::{
    Context,
    control::ControlPlane,
    ir,
    settings::{self, Configurable, Flags},
};

use crate::clif::{Func, dialect};

/// How much the optimiser does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Only removes unreachable code. A program that the verifier rejects when
    /// optimised and accepts like this has met a rewrite rule that loses bounds.
    None,
    /// Everything.
    #[default]
    Full,
}

/// A broken invariant of the compiler: never the user's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalError {
    /// The stage whose invariant broke.
    pub stage: &'static str,
    /// The function being compiled.
    pub function: String,
    /// What was found.
    pub message: String,
}

impl fmt::Display for InternalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "internal error in {} of `{}`: {}", self.stage, self.function, self.message)
    }
}

impl std::error::Error for InternalError {}

/// Optimises one function of the builder's dialect.
pub fn optimize(func: &Func, level: Level) -> Result<Func, InternalError> {
    let fail = |stage, message| InternalError { stage, function: func.name.clone(), message };
    dialect::check(&func.ir, dialect::Stage::Built).map_err(|m| fail("the CLIF builder", m))?;
    let ir = run_passes(func.ir.clone(), level).map_err(|m| fail("the optimiser", m))?;
    dialect::check(&ir, dialect::Stage::Optimized).map_err(|m| fail("the optimiser", m))?;
    Ok(Func { ir, ..func.clone() })
}

/// What `Context::optimize` does, which itself insists on a target.
pub(crate) fn run_passes(ir: ir::Function, level: Level) -> Result<ir::Function, String> {
    let flags = flags(level)?;
    let text = |error: cranelift_codegen::CodegenError| format!("{error:?}");
    let mut context = Context::for_function(ir);
    context.compute_cfg();
    context.compute_domtree();
    context.verify_if(&flags).map_err(text)?;
    context.eliminate_unreachable_code(&flags).map_err(text)?;
    context.remove_constant_phis(&flags).map_err(text)?;
    context.func.dfg.resolve_all_aliases();
    if level == Level::Full {
        context.egraph_pass(&flags, &mut ControlPlane::default()).map_err(text)?;
        context.func.dfg.resolve_all_aliases();
    }
    Ok(context.func)
}

fn flags(level: Level) -> Result<Flags, String> {
    let mut builder = settings::builder();
    let opt_level = match level {
        Level::None => "none",
        Level::Full => "speed",
    };
    builder.set("opt_level", opt_level).map_err(|error| error.to_string())?;
    builder.enable("enable_verifier").map_err(|error| error.to_string())?;
    Ok(Flags::new(builder))
}
