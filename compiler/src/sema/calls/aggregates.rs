//! `count()`, `sum(n)` and their kin: what is assigned to aggregating maps.
//!
//! In: the right side of an assignment. Out: the aggregation and the value to
//! add, or nothing if it is no aggregation.

use super::{constant_integer, constant_string, given_number};
use crate::diagnostic::Diagnostic;
use crate::hir::tree::{Expr, ExprKind};
use crate::hir::types::{Aggregate, Type};
use crate::sema::checker::{Checker, literal};
use crate::span::Span;
use crate::syntax::ast;
use btc_payload::layout::{HIST_MAX_BITS, MAX_BUCKETS, SeriesAgg, lhist_fault};
use btc_payload::start::{Buckets, StartValue};

/// Functions that aggregate.
pub(in crate::sema) const NAMES: &[&str] = &["avg", "count", "hist", "lhist", "max", "min", "stats", "sum", "tseries"];

/// The aggregation a call is, by its name.
pub(in crate::sema) fn name_of(e: &ast::Expr) -> Option<&'static str> {
    match &e.kind {
        ast::ExprKind::Call { name, .. } => NAMES.iter().find(|n| **n == name.value).copied(),
        _ => None,
    }
}

/// The aggregation an expression is: `None` if it is none, `Some(None)` if it
/// is a wrong one (reported).
pub(in crate::sema) fn aggregate(c: &mut Checker, e: &ast::Expr) -> Option<Option<(Aggregate, Option<Expr>)>> {
    let name = name_of(e)?;
    let ast::ExprKind::Call { args, .. } = &e.kind else { return None };
    Some(build(c, name, args, e))
}

fn build(c: &mut Checker, name: &str, args: &[ast::Expr], e: &ast::Expr) -> Option<(Aggregate, Option<Expr>)> {
    let (min, max, usage) = match name {
        "count" => (0, 0, "count()"),
        "hist" => (1, 2, "hist(value) or hist(value, bits)"),
        "lhist" => (4, 4, "lhist(value, min, max, step)"),
        "tseries" => (3, 4, "tseries(value, interval, buckets) or tseries(value, interval, buckets, function)"),
        _ => (1, 1, "one value"),
    };
    if args.len() < min || args.len() > max {
        let message = format!("`{name}` is called with {} arguments", args.len());
        return c.error("E0401", e.span, message, &format!("usage: {usage}"));
    }
    let Some(first) = args.first() else { return Some((Aggregate::Count, None)) };
    let value = c.value(first)?;
    let signed = match &value.ty {
        Type::Int { signed, .. } => *signed || literal(&value).is_some(),
        Type::Enum { signed, .. } => *signed,
        _ => false,
    };
    let aggregate = match name {
        "sum" => Aggregate::Sum { signed },
        "avg" => Aggregate::Avg { signed },
        "min" => Aggregate::Min { signed },
        "max" => Aggregate::Max { signed },
        "stats" => Aggregate::Stats { signed },
        "hist" => hist(c, args.get(1))?,
        "lhist" => lhist(c, args)?,
        _ => tseries(c, args, signed)?,
    };
    // Buckets go by signed values; a literal of either sign fits both.
    let buckets = matches!(aggregate, Aggregate::Hist { .. } | Aggregate::Lhist { .. } | Aggregate::Bucketed(_));
    let signed = signed || buckets;
    let value = c.integer(value, signed, &format!("the value of `{name}`"))?;
    Some((aggregate, Some(value)))
}

fn hist(c: &mut Checker, arg: Option<&ast::Expr>) -> Option<Aggregate> {
    let Some(arg) = arg else { return Some(Aggregate::Hist { bits: 0 }) };
    match argument(c, arg, "the number of bits")? {
        StartValue::Literal(v) if (0..=i64::from(HIST_MAX_BITS)).contains(&v) => {
            Some(Aggregate::Hist { bits: v as u8 })
        }
        StartValue::Literal(v) => c.error("E0405", arg.span, format!("{v} bits are out of range"), "0 to 5"),
        given => Some(Aggregate::Bucketed(Box::new(Buckets::Hist(given)))),
    }
}

fn lhist(c: &mut Checker, args: &[ast::Expr]) -> Option<Aggregate> {
    let mut bound = |i: usize, what: &str| argument(c, &args[i], what);
    match [bound(1, "the minimum")?, bound(2, "the maximum")?, bound(3, "the step")?] {
        [StartValue::Literal(min), StartValue::Literal(max), StartValue::Literal(step)] => {
            match lhist_fault(min, max, step) {
                Some((which, fault)) => c.error("E0406", args[which + 1].span, fault, ""),
                None => Some(Aggregate::Lhist { min, max, step }),
            }
        }
        given => Some(Aggregate::Bucketed(Box::new(Buckets::Lhist(given)))),
    }
}

/// A number that is constant, or that the run gives: a parameter, or an option.
fn argument(c: &mut Checker, e: &ast::Expr, what: &str) -> Option<StartValue> {
    if let Some(number) = given_number(c, e) {
        return Some(StartValue::Literal(number));
    }
    let value = c.value(e)?;
    if let Some(v) = literal(&value) {
        return Some(StartValue::Literal(v as i64));
    }
    if let ExprKind::Start(slot) = value.kind
        && let given @ (StartValue::ParameterInt(_) | StartValue::OptionInt(_)) =
            c.program.slots[slot.0 as usize].value.clone()
    {
        return Some(given);
    }
    c.error("E0404", e.span, format!("{what} must be a constant or a parameter"), "neither")
}

/// Refuses or warns of what bpftrace calls unstable, when the script's settings say so.
pub(in crate::sema) fn unstable(c: &mut Checker, span: Span, setting: &str, what: &str) -> Option<()> {
    let allow = format!("{setting} = enable allows it");
    match crate::sema::config::value(&c.program.settings, setting) {
        Some("error") => c.error("E0408", span, format!("the settings do not allow {what}"), &allow),
        Some("warn") => {
            let warning = Diagnostic::warning("W0408", format!("{what} may still change in bpftrace"));
            c.report_once(warning.at(span, "").help(allow));
            Some(())
        }
        _ => Some(()),
    }
}

fn tseries(c: &mut Checker, args: &[ast::Expr], signed: bool) -> Option<Aggregate> {
    unstable(c, args[0].span, "unstable_tseries", "`tseries`")?;
    let interval = constant_integer(c, &args[1], "the interval")?;
    let buckets = constant_integer(c, &args[2], "the number of buckets")?;
    if interval <= 0 {
        return c.error("E0407", args[1].span, "the interval of `tseries` must be above zero", "");
    }
    if !(1..=i64::from(MAX_BUCKETS)).contains(&buckets) {
        return c.error("E0407", args[2].span, "the number of buckets is out of range", "1 to 1000");
    }
    let agg = match args.get(3) {
        None => SeriesAgg::Last,
        Some(a) => match constant_string(c, a, "the function")?.as_str() {
            "avg" => SeriesAgg::Avg,
            "max" => SeriesAgg::Max,
            "min" => SeriesAgg::Min,
            "sum" => SeriesAgg::Sum,
            other => {
                let message = format!("`{other}` is no function of `tseries`");
                return c.error("E0407", a.span, message, "avg, max, min or sum");
            }
        },
    };
    Some(Aggregate::Tseries { interval_ns: interval as u64, buckets: buckets as u32, agg, signed })
}
