//! What the builder emits, seen as CLIF text.

use std::convert::Infallible;

use super::*;
use crate::helper::Helper;

fn build(params: usize, body: impl FnOnce(&mut FuncBuilder<'_>)) -> String {
    let mut module = Module::new();
    let id = module.declare("test", params);
    let result: Result<(), Infallible> = module.define(id, |f| {
        body(f);
        Ok(())
    });
    result.expect("infallible");
    module.to_string()
}

#[test]
fn only_context_loads_may_move() {
    let text = build(1, |f| {
        let field = f.load(f.ctx().at(16), Width::W32);
        let slot = f.push_stack("key", 4);
        f.store(slot, Width::W32, field);
        let back = f.load(slot, Width::W32);
        f.ret(back);
    });
    assert!(text.contains("load.i32 notrap aligned readonly can_move little v0+16"), "{text}");
    assert!(text.contains("store notrap aligned little"), "{text}");
    assert!(text.contains("load.i32 notrap aligned little"), "{text}");
}

#[test]
fn released_stack_is_reused_and_grows() {
    let text = build(1, |f| {
        let mark = f.stack_mark();
        f.push_stack("a", 4);
        f.push_stack("b", 24);
        f.stack_release(mark);
        f.push_stack("c", 32);
        f.push_stack("d", 8);
    });
    assert!(text.contains("ss0 = explicit_slot 8"), "{text}");
    assert!(text.contains("ss1 = explicit_slot 32"), "{text}");
    assert!(!text.contains("ss2 ="), "{text}");
    assert!(text.contains("ss1: b, c"), "{text}");
}

#[test]
fn loops_test_the_negated_condition_and_name_the_exit_first() {
    let text = build(1, |f| {
        let i = f.var();
        let zero = f.iconst(0);
        f.set(i, zero);
        let l = f.begin_loop();
        let now = f.get(i);
        let go = f.compare_const(Cmp::Ult, now, 10);
        f.loop_while(&l, go);
        let one = f.iconst(1);
        let next = f.add(now, one);
        f.set(i, next);
        f.end_loop(l);
        let end = f.get(i);
        f.ret(end);
    });
    assert!(text.contains("brif v6, block2, block4"), "{text}");
}

#[test]
fn divisors_hide_from_the_optimiser_unless_powers_of_two() {
    let text = build(1, |f| {
        let (seven, eight) = (f.iconst(7), f.iconst(8));
        let a = f.udiv(f.param(0), seven);
        let b = f.urem(a, eight);
        f.ret(b);
    });
    assert!(text.contains("symbol u6:0 = opaque 7"), "{text}");
    assert!(text.contains("gv0 = symbol u6:0"), "{text}");
    assert!(text.contains("urem v4, v2"), "{text}");
}

#[test]
fn functions_can_be_defined_while_another_is_open() {
    let text = build(1, |f| {
        let callback = f.module().declare("callback", 2);
        let done: Result<(), Infallible> = f.module().define(callback, |g| {
            g.ret_const(0);
            Ok(())
        });
        done.expect("infallible");
        let (map, function) = (f.map(0), f.symbol(Symbol::Subprog(callback)));
        let zero = f.iconst(0);
        f.call_helper(Helper::ForEachMapElem, &[map, function, zero, zero]);
    });
    assert!(text.contains("symbol u2:1 = subprog 1"), "{text}");
    assert!(text.contains("; callback"), "{text}");
}

#[test]
fn code_after_return_is_unreachable_not_an_error() {
    build(1, |f| {
        let cond = f.nonzero(f.param(0));
        let open = f.begin_if(cond);
        f.ret_const(1);
        assert!(f.is_unreachable());
        let dead = f.iconst(5);
        f.add(dead, dead);
        f.end_if(open);
        assert!(!f.is_unreachable());
    });
}
