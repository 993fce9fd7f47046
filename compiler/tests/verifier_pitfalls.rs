//! What the kernel's verifier makes of our code, on the kernel this runs on.
//!
//! Each test is one known way in which correct code gets rejected (or slow),
//! with the cure that the compiler applies. Rejections that we avoid only by
//! convention are tested as rejections, so that we notice when a kernel or an
//! upgrade of Cranelift changes them. An ordinary test binary without
//! dependencies: copy it to the oldest supported kernel and run it there.

#[path = "../src/bpf/tests/kernel.rs"]
mod kernel;

use std::convert::Infallible;
use std::os::fd::AsRawFd;

use btc::bpf::{self, Code, Listing, insn};
use btc::clif::{Atomic, Cmp, FuncBuilder, Mem, Module, Ptr, Symbol, Value, Width};
use btc::helper::Helper;
use btc::opt::{self, Level};

/// A compiled tracepoint program whose symbols are at most one map.
struct Program {
    module: Module,
    code: Code,
}

fn program(level: Level, body: impl FnOnce(&mut FuncBuilder<'_>)) -> Program {
    let mut module = Module::new();
    let id = module.declare("program", 1);
    let built: Result<(), Infallible> = module.define(id, |f| {
        body(f);
        Ok(())
    });
    built.expect("infallible");
    let func = opt::optimize(module.func(id), level).expect("optimises");
    let code = bpf::compile(&module, &func).unwrap_or_else(|error| panic!("{error}\n{func}"));
    Program { module, code }
}

impl Program {
    /// Loads the program; an error is the verifier's log.
    fn load(&self) -> Result<(), String> {
        let map = kernel::create_map(kernel::HASH, 8, 64, 16)?;
        let mut code = self.code.clone();
        for reloc in &self.code.relocs {
            match self.module.symbols.get(reloc.symbol) {
                Some(Symbol::Map(_)) => {
                    // BPF_PSEUDO_MAP_FD
                    code.insns[reloc.insn].src = 1;
                    code.insns[reloc.insn].imm = map.as_raw_fd();
                }
                other => return Err(format!("no relocation for {other:?}")),
            }
        }
        kernel::load(kernel::TRACEPOINT, &code.to_bytes(), true).map(drop)
    }

    fn listing(&self) -> String {
        Listing::new(&self.code, &self.module, &|_| None).to_string()
    }

    fn assert_accepted(&self) {
        if let Err(log) = self.load() {
            panic!("rejected:\n{}\n{log}", self.listing());
        }
    }

    /// The verifier rejects the program and says `because`.
    fn assert_rejected(&self, because: &str) {
        match self.load() {
            Ok(()) => panic!("accepted:\n{}", self.listing()),
            Err(log) => assert!(log.contains(because), "{}\n{log}", self.listing()),
        }
    }
}

/// Says loudly that nothing was tested, if programs cannot be loaded.
fn can_load(test: &str) -> bool {
    match kernel::unavailable(kernel::TRACEPOINT) {
        None => true,
        Some(reason) => {
            eprintln!("SKIPPED: {test}: {reason}");
            false
        }
    }
}

/// Version of the running kernel.
fn kernel_version() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("procfs");
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse().ok());
    (numbers.next().expect("major"), numbers.next().expect("minor"))
}

/// An unknown number.
fn unknown(f: &mut FuncBuilder<'_>) -> Value {
    f.load(f.ctx().at(8), Width::W64)
}

fn buffer(f: &mut FuncBuilder<'_>) -> Ptr {
    let buffer = f.push_stack("buffer", 64);
    f.zero(buffer, 64);
    buffer
}

fn constant(f: &mut FuncBuilder<'_>, value: i64) -> Value {
    f.iconst(value)
}

fn store_byte(f: &mut FuncBuilder<'_>, buffer: Ptr, index: Value) {
    let place = f.index(buffer, index);
    f.store_const(place, Width::W8, 1);
}

/// `for i in 0..limit { body }`
fn count(f: &mut FuncBuilder<'_>, limit: Value, body: impl FnOnce(&mut FuncBuilder<'_>, Value)) {
    let i = f.var();
    let zero = f.iconst(0);
    f.set(i, zero);
    let open = f.begin_loop();
    let now = f.get(i);
    let go = f.compare(Cmp::Ult, now, limit);
    f.loop_while(&open, go);
    body(f, now);
    let now = f.get(i);
    let one = f.iconst(1);
    let next = f.add(now, one);
    f.set(i, next);
    f.end_loop(open);
}

/// The optimiser recomputes `x & 63` in the block that uses it, so that the
/// checked register is not the used one; merging the clones puts it right.
#[test]
fn recomputed_index() {
    if !can_load("recomputed_index") {
        return;
    }
    program(Level::Full, |f| {
        let buffer = buffer(f);
        let (x, mask) = (unknown(f), constant(f, 63));
        let n = f.and(x, mask);
        let small = f.compare_const(Cmp::Ult, n, 40);
        let open = f.begin_if(small);
        store_byte(f, buffer, n);
        f.end_if(open);
        let end = f.load(buffer, Width::W8);
        f.ret(end);
    })
    .assert_accepted();
}

/// A load behind a null check stays there even if it does not change in a loop.
#[test]
fn guarded_load_in_loop() {
    if !can_load("guarded_load_in_loop") {
        return;
    }
    program(Level::Full, |f| {
        let key = f.push_stack("key", 8);
        let x = unknown(f);
        f.store(key, Width::W64, x);
        let (map, key) = (f.map(0), f.address(key));
        let found = f.call_helper(Helper::MapLookupElem, &[map, key]);
        let sum = f.var();
        let zero = f.iconst(0);
        f.set(sum, zero);
        let limit = f.iconst(8);
        count(f, limit, |f, _| {
            let there = f.nonzero(found);
            let open = f.begin_if(there);
            let value = f.pointer(Mem::Bpf, found);
            let value = f.load(value.at(8), Width::W64);
            let old = f.get(sum);
            let new = f.add(old, value);
            f.set(sum, new);
            f.end_if(open);
        });
        let end = f.get(sum);
        f.ret(end);
    })
    .assert_accepted();
}

fn reassociated(barrier: bool) -> Program {
    program(Level::Full, |f| {
        let buffer = buffer(f);
        let (a, five) = (unknown(f), constant(f, 5));
        let x = f.add(a, five);
        let x = if barrier { f.barrier(x) } else { x };
        let small = f.compare_const(Cmp::Ult, x, 40);
        let open = f.begin_if(small);
        let three = f.iconst(3);
        let place = f.add(x, three);
        store_byte(f, buffer, place);
        f.end_if(open);
        f.ret_const(0);
    })
}

/// `x = a + 5; if x < 40 { buf[x + 3] }` becomes `a + 8`, which verifiers before
/// 6.11 do not connect with the check on `a + 5`.
#[test]
fn reassociated_index() {
    if !can_load("reassociated_index") {
        return;
    }
    reassociated(true).assert_accepted();
    if kernel_version() < (6, 11) {
        reassociated(false).assert_rejected("unbounded");
    } else {
        reassociated(false).assert_accepted();
    }
}

/// A loop bound recomputed in the header is a fresh unknown in every round.
#[test]
fn recomputed_loop_bound() {
    if !can_load("recomputed_loop_bound") {
        return;
    }
    program(Level::Full, |f| {
        let (x, mask) = (unknown(f), constant(f, 15));
        let limit = f.and(x, mask);
        let total = f.var();
        let zero = f.iconst(0);
        f.set(total, zero);
        count(f, limit, |f, i| {
            let old = f.get(total);
            let new = f.add(old, i);
            f.set(total, new);
        });
        let end = f.get(total);
        f.ret(end);
    })
    .assert_accepted();
}

fn after_remainder(clamp: bool) -> Program {
    program(Level::Full, |f| {
        let buffer = buffer(f);
        let (x, sixty) = (unknown(f), constant(f, 60));
        let n = f.urem(x, sixty);
        let limit = f.iconst(59);
        let n = if clamp { f.umin(n, limit) } else { n };
        store_byte(f, buffer, n);
        f.ret_const(0);
    })
}

/// The verifier knows nothing after `%`; a clamp that looks useless helps, and
/// the optimiser leaves it alone. (6.18 learnt to bound remainders later on.)
#[test]
fn index_after_remainder() {
    if !can_load("index_after_remainder") {
        return;
    }
    after_remainder(true).assert_accepted();
    if kernel_version() < (6, 18) {
        after_remainder(false).assert_rejected("unbounded");
    }
}

fn wide_store(shifted: bool) -> Program {
    program(Level::Full, |f| {
        let buffer = buffer(f);
        let (x, seven) = (unknown(f), constant(f, 7));
        let n = f.and(x, seven);
        let three = f.iconst(3);
        let n = if shifted { f.shl(n, three) } else { n };
        let place = f.index(buffer, n);
        f.store_const(place, Width::W64, 1);
        f.ret_const(0);
    })
}

/// A store at a variable place in the stack must be provably aligned.
#[test]
fn variable_stack_store() {
    if !can_load("variable_stack_store") {
        return;
    }
    wide_store(true).assert_accepted();
    wide_store(false).assert_rejected("misaligned stack access");
}

/// Two null checks joined without a branch.
#[test]
fn joined_null_checks() {
    if !can_load("joined_null_checks") {
        return;
    }
    program(Level::Full, |f| {
        let key = f.push_stack("key", 8);
        f.zero(key, 8);
        let (map, key) = (f.map(0), f.address(key));
        let first = f.call_helper(Helper::MapLookupElem, &[map, key]);
        let second = f.call_helper(Helper::MapLookupElem, &[map, key]);
        let (a, b) = (f.nonzero(first), f.nonzero(second));
        let both = f.both(a, b);
        let open = f.begin_if(both);
        let (first, second) = (f.pointer(Mem::Bpf, first), f.pointer(Mem::Bpf, second));
        let value = f.load(first, Width::W32);
        f.store(second, Width::W32, value);
        f.end_if(open);
        f.ret_const(0);
    })
    .assert_accepted();
}

/// Pointers and bounds survive spilling: more values than registers live over
/// calls, among them the context and a map value.
#[test]
fn spilled_pointers() {
    if !can_load("spilled_pointers") {
        return;
    }
    program(Level::Full, |f| {
        let key = f.push_stack("key", 8);
        f.zero(key, 8);
        let (map, key) = (f.map(0), f.address(key));
        let found = f.call_helper(Helper::MapLookupElem, &[map, key]);
        let there = f.nonzero(found);
        let open = f.begin_if(there);
        let value = f.pointer(Mem::Bpf, found);
        let mask = f.iconst(31);
        let values: Vec<Value> = (0..8)
            .map(|at| {
                let value = f.load(f.ctx().at(8 + 8 * at), Width::W64);
                let value = f.and(value, mask);
                f.barrier(value)
            })
            .collect();
        for &number in &values {
            f.call_helper(Helper::KtimeGetNs, &[]);
            let place = f.index(value, number);
            f.store_const(place, Width::W8, 7);
        }
        let last = f.load(f.ctx().at(80), Width::W64);
        let sum = values.iter().fold(last, |sum, &value| f.add(sum, value));
        f.store(value.at(40), Width::W64, sum);
        f.end_if(open);
        f.ret_const(0);
    })
    .assert_accepted();
}

/// Counting in a map works on every kernel; fetching the old value needs 5.12.
#[test]
fn atomics() {
    if !can_load("atomics") {
        return;
    }
    let build = |fetch: bool| {
        program(Level::Full, |f| {
            let counter = f.push_stack("counter", 8);
            f.zero(counter, 8);
            let one = f.iconst(1);
            if fetch {
                let old = f.atomic_fetch(Atomic::Add, counter, Width::W64, one);
                f.ret(old);
            } else {
                f.atomic(Atomic::Add, counter, Width::W64, one);
                f.atomic(Atomic::Sub, counter.at(4), Width::W32, one);
                f.ret_const(0);
            }
        })
    };
    build(false).assert_accepted();
    if kernel_version() >= (5, 12) {
        build(true).assert_accepted();
    } else {
        build(true).assert_rejected("");
    }
}

/// Division by a constant stays one instruction, also in a loop.
#[test]
fn divisions_are_not_multiplied_out() {
    let program = program(Level::Full, |f| {
        let limit = f.iconst(4);
        let x = f.var();
        let start = unknown(f);
        f.set(x, start);
        count(f, limit, |f, i| {
            let (old, seven) = (f.get(x), f.iconst(7));
            let rest = f.urem(old, seven);
            let rest = f.add(rest, i);
            f.set(x, rest);
        });
        let end = f.get(x);
        f.ret(end);
    });
    let divisions = program
        .code
        .insns
        .iter()
        .filter(|insn| insn.class() == insn::class::ALU64 && insn.opcode & 0xf0 == 0x90)
        .count();
    assert_eq!(divisions, 1, "{}", program.listing());
    assert!(program.code.insns.len() <= 11, "{}", program.listing());
    if can_load("divisions_are_not_multiplied_out") {
        program.assert_accepted();
    }
}

/// What does not change in a loop is computed before it.
#[test]
fn loop_invariants_are_hoisted() {
    let program = program(Level::Full, |f| {
        let (x, y) = (unknown(f), f.load(f.ctx().at(16), Width::W64));
        let total = f.var();
        f.set(total, x);
        let limit = f.iconst(8);
        count(f, limit, |f, i| {
            let product = f.mul(x, y);
            let old = f.get(total);
            let new = f.xor(old, product);
            let new = f.add(new, i);
            f.set(total, new);
        });
        let end = f.get(total);
        f.ret(end);
    });
    let insns = &program.code.insns;
    let product = insns.iter().position(|insn| insn.opcode == 0x2f).expect("a product");
    let head = insns.iter().position(|insn| insn.off < 0 && insn.class() == insn::class::JMP);
    let back = head.expect("a loop");
    let head = back as i64 + 1 + i64::from(insns[back].off);
    assert!((product as i64) < head, "{}", program.listing());
}

/// The unoptimised program is accepted, too: the switch for finding out whether
/// the optimiser is to blame.
#[test]
fn unoptimised_programs_load() {
    if !can_load("unoptimised_programs_load") {
        return;
    }
    program(Level::None, |f| {
        let buffer = buffer(f);
        let (x, mask) = (unknown(f), constant(f, 63));
        let n = f.and(x, mask);
        let small = f.compare_const(Cmp::Ult, n, 40);
        let open = f.begin_if(small);
        store_byte(f, buffer, n);
        f.end_if(open);
        f.ret_const(0);
    })
    .assert_accepted();
}
