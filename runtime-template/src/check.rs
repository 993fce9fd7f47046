//! `--check`: would the tracer run here? One line per condition, nothing is
//! attached.
//!
//! In: the manifest and this machine. Out: a table, and whether all is well.

use crate::attach::{Plan, refused};
use crate::context::Context;
use crate::start::missing_features;
use crate::{privileges, sys};
use std::fmt::Write;

/// The table, and whether the tracer can run.
pub fn run(context: &Context<'_>) -> (String, bool) {
    let mut out = String::new();
    let mut good = true;
    let mut line = |ok: bool, what: &str, detail: &str| {
        good &= ok;
        let _ = writeln!(out, "{:4} {what:22} {detail}", if ok { "ok" } else { "FAIL" });
    };
    line(true, "kernel", &sys::kernel_release());
    let btf = context.btf();
    line(btf.is_ok(), "BTF", &btf.as_ref().map_or_else(|e| format!("{e:#}"), |_| "found".into()));
    let missing = privileges::missing(context);
    let detail =
        if missing.is_empty() { "enough".into() } else { format!("missing {}; run as root", missing.join(", ")) };
    line(missing.is_empty(), "privileges", &detail);
    let lacking = missing_features(context.manifest, &context.features);
    for r in &context.manifest.requirements {
        let (name, since) = crate::target::features::describe(r.feature);
        let has = context.features.has(r.feature);
        line(has, "feature", &format!("{name} (Linux {since}) for {}", r.construct));
    }
    debug_assert!(lacking.len() <= context.manifest.requirements.len());
    match Plan::new(context) {
        Ok(plan) => {
            for (i, p) in context.manifest.programs.iter().enumerate() {
                let places: usize = plan.units.iter().filter(|u| u.program == i).map(|u| u.places.len()).sum();
                match places {
                    0 => {}
                    // The compiler's own: part of another one.
                    _ if p.written.is_empty() => {}
                    1 => match plan.units.iter().filter(|u| u.program == i).find_map(|u| refused(&u.places[0].how)) {
                        Some(why) => line(false, "probe", &format!("{}: {why:#}", p.written)),
                        None => line(true, "probe", &p.written),
                    },
                    n => line(true, "probe", &format!("{} ({n} places)", p.written)),
                }
            }
            for m in &plan.missing {
                line(false, "probe", m);
            }
        }
        Err(e) => line(false, "probes", &format!("{e:#}")),
    }
    (out, good)
}
