//! What the builder's compound operations compute, executed; and what else comes
//! with the code: source locations, stack depth.

use std::convert::Infallible;

use crate::bpf::{Code, Listing, compile, interp, stack_depth};
use crate::clif::{Cmp, FuncBuilder, Module, Value, Width};
use crate::helper::Helper;
use crate::opt::{Level, optimize};

/// Numbers around which operations go wrong.
fn samples() -> Vec<i64> {
    let edges = (0..64).map(|bit| 1_i64 << bit);
    edges.flat_map(|edge| [edge, edge.wrapping_sub(1), edge.wrapping_neg(), !edge]).collect()
}

/// Runs `body` on two numbers at both levels; checks against `expected`.
fn check(
    body: impl Fn(&mut FuncBuilder<'_>, Value, Value) -> Value,
    pairs: &[(i64, i64)],
    expected: impl Fn(i64, i64) -> i64,
) {
    for level in [Level::None, Level::Full] {
        let mut module = Module::new();
        let id = module.declare("test", 1);
        let built: Result<(), Infallible> = module.define(id, |f| {
            let a = f.load(f.ctx(), Width::W64);
            let b = f.load(f.ctx().at(8), Width::W64);
            let result = body(f, a, b);
            f.ret(result);
            Ok(())
        });
        built.expect("infallible");
        let func = optimize(module.func(id), level).expect("optimises");
        let code = compile(&module, &func).expect("compiles");
        for &(a, b) in pairs {
            let mut ctx = [a.to_le_bytes(), b.to_le_bytes()].concat();
            let result = interp::run(&code, &mut ctx).expect("runs") as i64;
            assert_eq!(result, expected(a, b), "{a:#x}, {b:#x} at {level:?}");
        }
    }
}

fn each_sample() -> Vec<(i64, i64)> {
    samples().into_iter().map(|sample| (sample, 0)).collect()
}

fn all_pairs() -> Vec<(i64, i64)> {
    let some: Vec<i64> = samples().into_iter().chain([0, 7, -7, 10]).step_by(5).collect();
    some.iter().flat_map(|&a| some.iter().map(move |&b| (a, b))).collect()
}

#[test]
fn ilog2() {
    let expected = |a: i64, _| (a as u64).checked_ilog2().map_or(0, i64::from);
    check(|f, a, _| f.ilog2(a), &each_sample(), expected);
}

#[test]
fn division_follows_bpf() {
    let pairs = all_pairs();
    check(|f, a, b| f.udiv(a, b), &pairs, |a, b| (a as u64).checked_div(b as u64).unwrap_or(0) as i64);
    check(|f, a, b| f.urem(a, b), &pairs, |a, b| (a as u64).checked_rem(b as u64).unwrap_or(a as u64) as i64);
    check(|f, a, b| f.sdiv(a, b), &pairs, |a, b| if b == 0 { 0 } else { a.wrapping_div(b) });
    check(|f, a, b| f.srem(a, b), &pairs, |a, b| if b == 0 { a } else { a.wrapping_rem(b) });
}

#[test]
fn division_by_constants() {
    for divisor in [1, 2, 3, 10, -1, -3, -8, 0, 64, 1 << 40, i64::MIN] {
        let pairs = each_sample();
        check(
            |f, a, _| {
                let b = f.iconst(divisor);
                f.sdiv(a, b)
            },
            &pairs,
            |a, _| {
                if divisor == 0 { 0 } else { a.wrapping_div(divisor) }
            },
        );
        check(
            |f, a, _| {
                let b = f.iconst(divisor);
                f.srem(a, b)
            },
            &pairs,
            |a, _| {
                if divisor == 0 { a } else { a.wrapping_rem(divisor) }
            },
        );
    }
}

#[test]
fn conversions() {
    let pairs = each_sample();
    check(|f, a, _| f.sign_extend(a, Width::W8), &pairs, |a, _| i64::from(a as i8));
    check(|f, a, _| f.sign_extend(a, Width::W32), &pairs, |a, _| i64::from(a as i32));
    check(|f, a, _| f.zero_extend(a, Width::W16), &pairs, |a, _| i64::from(a as u16));
    check(|f, a, _| f.bswap(a, Width::W32), &pairs, |a, _| i64::from((a as u32).swap_bytes()));
    check(|f, a, _| f.bswap(a, Width::W64), &pairs, |a, _| a.swap_bytes());
}

#[test]
fn conditions() {
    let pairs = all_pairs();
    check(
        |f, a, b| {
            let less = f.compare(Cmp::Slt, a, b);
            let there = f.nonzero(a);
            let neither = f.either(less, there);
            let neither = f.negate(neither);
            let one = f.select(neither, a, b);
            let flag = f.bool_value(less);
            f.add(one, flag)
        },
        &pairs,
        |a, b| {
            let one = if a < b || a != 0 { b } else { a };
            one.wrapping_add(i64::from(a < b))
        },
    );
}

fn compile_all(module: &Module) -> Vec<Code> {
    let funcs = module.funcs.iter();
    let optimized = funcs.map(|func| optimize(func, Level::Full).expect("optimises"));
    optimized.map(|func| compile(module, &func).expect("compiles")).collect()
}

#[test]
fn lines_start_where_the_code_of_a_statement_starts() {
    let mut module = Module::new();
    let id = module.declare("lines", 1);
    let built: Result<(), Infallible> = module.define(id, |f| {
        f.set_srcloc(10);
        f.call_helper(Helper::KtimeGetNs, &[]);
        f.set_srcloc(20);
        let time = f.call_helper(Helper::KtimeGetNs, &[]);
        f.set_srcloc(30);
        f.ret(time);
        Ok(())
    });
    built.expect("infallible");
    let code = &compile_all(&module)[0];
    let lines: Vec<(usize, u32)> = code.lines.iter().map(|line| (line.insn, line.srcloc)).collect();
    assert_eq!(lines, [(0, 10), (1, 20), (2, 30)]);
    let source = |srcloc| Some(format!("line {}", srcloc / 10));
    let listing = Listing::new(code, &module, &|_| None).with_source(&source).to_string();
    assert!(listing.contains("; line 2\n    1: call bpf_ktime_get_ns\n"), "{listing}");
}

#[test]
fn stack_depth_adds_up_over_calls() {
    let mut module = Module::new();
    let (outer, inner) = (module.declare("outer", 1), module.declare("inner", 1));
    for (id, size) in [(outer, 40), (inner, 8)] {
        let built: Result<(), Infallible> = module.define(id, |f| {
            let slot = f.push_stack("slot", size);
            f.zero(slot, size);
            let address = f.address(slot);
            let size = f.iconst(i64::from(size));
            f.call_helper(Helper::GetCurrentComm, &[address, size]);
            if id == outer {
                f.call_subprog(inner, &[address]);
            }
            Ok(())
        });
        built.expect("infallible");
    }
    let codes = compile_all(&module);
    assert_eq!(stack_depth(&module, &codes, inner), 32);
    assert_eq!(stack_depth(&module, &codes, outer), 64 + 32);
}
