//! What a tracer typically does, written with the builder: does the kernel load
//! it, and is it no longer than it has to be?
//!
//! The limits are what the code measures today; for programs like the first and
//! the third clang 14 -O2 needs 30 and 36 instructions. Runs on any kernel from 5.8 on.

#[path = "../src/bpf/tests/kernel.rs"]
mod kernel;

use std::convert::Infallible;
use std::os::fd::{AsRawFd, OwnedFd};

use btc::bpf::{self, Code, Listing};
use btc::clif::{Atomic, Cmp, FuncBuilder, Mem, Module, Ptr, Symbol, Value, Width};
use btc::helper::Helper;
use btc::opt::{self, Level};

/// `BPF_MAP_TYPE_RINGBUF`.
const RINGBUF: u32 = 27;
/// Kind, key, value, entries of the maps the programs use, by number.
const MAPS: [(u32, u32, u32, u32); 3] = [(kernel::HASH, 16, 8, 64), (kernel::HASH, 8, 8, 64), (RINGBUF, 0, 0, 4096)];
const COUNTS: u32 = 0;
const STARTS: u32 = 1;
const EVENTS: u32 = 2;

fn check(name: &str, limit: usize, body: impl FnOnce(&mut FuncBuilder<'_>)) {
    let mut module = Module::new();
    let id = module.declare(name, 1);
    let built: Result<(), Infallible> = module.define(id, |f| {
        body(f);
        Ok(())
    });
    built.expect("infallible");
    let func = opt::optimize(module.func(id), Level::Full).expect("optimises");
    let code = bpf::compile(&module, &func).unwrap_or_else(|error| panic!("{error}\n{func}"));
    let listing = Listing::new(&code, &module, &|_| None).to_string();
    assert!(code.insns.len() <= limit, "{name}: more than {limit}\n{listing}");
    if let Some(reason) = kernel::unavailable(kernel::TRACEPOINT) {
        eprintln!("SKIPPED: loading {name}: {reason}");
        return;
    }
    if let Err(log) = load(&module, code) {
        panic!("{name}: rejected\n{listing}\n{log}");
    }
}

fn load(module: &Module, mut code: Code) -> Result<(), String> {
    let maps: Result<Vec<OwnedFd>, String> =
        MAPS.iter().map(|&(kind, key, value, entries)| kernel::create_map(kind, key, value, entries)).collect();
    let maps = maps?;
    for reloc in &code.relocs {
        let Some(Symbol::Map(map)) = module.symbols.get(reloc.symbol) else {
            return Err("only maps are relocated here".to_owned());
        };
        // BPF_PSEUDO_MAP_FD
        code.insns[reloc.insn].src = 1;
        code.insns[reloc.insn].imm = maps[map as usize].as_raw_fd();
    }
    kernel::load(kernel::TRACEPOINT, &code.to_bytes(), true).map(drop)
}

fn pid(f: &mut FuncBuilder<'_>) -> Value {
    let both = f.call_helper(Helper::GetCurrentPidTgid, &[]);
    let half = f.iconst(32);
    f.ushr(both, half)
}

/// The value of `key`, or null.
fn lookup(f: &mut FuncBuilder<'_>, map: u32, key: Ptr) -> Value {
    let (map, key) = (f.map(map), f.address(key));
    f.call_helper(Helper::MapLookupElem, &[map, key])
}

fn update(f: &mut FuncBuilder<'_>, map: u32, key: Ptr, value: Value) {
    let mark = f.stack_mark();
    let slot = f.push_stack("value", 8);
    f.store(slot, Width::W64, value);
    let (map, key, value, any) = (f.map(map), f.address(key), f.address(slot), f.iconst(0));
    f.call_helper(Helper::MapUpdateElem, &[map, key, value, any]);
    f.stack_release(mark);
}

/// `@[key] = count()`
fn count(f: &mut FuncBuilder<'_>, map: u32, key: Ptr) {
    let found = lookup(f, map, key);
    let there = f.nonzero(found);
    let mut open = f.begin_if(there);
    let one = f.iconst(1);
    let value = f.pointer(Mem::Bpf, found);
    f.atomic(Atomic::Add, value, Width::W64, one);
    f.begin_else(&mut open);
    let one = f.iconst(1);
    update(f, map, key, one);
    f.end_if(open);
}

fn current_comm(f: &mut FuncBuilder<'_>, place: Ptr) {
    let (place, size) = (f.address(place), f.iconst(16));
    f.call_helper(Helper::GetCurrentComm, &[place, size]);
}

#[test]
fn count_by_command_name_of_one_process() {
    check("count", 27, |f| {
        let pid = pid(f);
        let other = f.compare_const(Cmp::Ne, pid, 1234);
        let open = f.begin_if(other);
        f.ret_const(0);
        f.end_if(open);
        let key = f.push_stack("key", 16);
        current_comm(f, key);
        count(f, COUNTS, key);
    });
}

#[test]
fn latency_histogram() {
    check("latency", 76, |f| {
        let thread = f.call_helper(Helper::GetCurrentPidTgid, &[]);
        let key = f.push_stack("key", 8);
        f.store(key, Width::W64, thread);
        let found = lookup(f, STARTS, key);
        let there = f.nonzero(found);
        let open = f.begin_if(there);
        let start = f.pointer(Mem::Bpf, found);
        let start = f.load(start, Width::W64);
        let now = f.call_helper(Helper::KtimeGetNs, &[]);
        let elapsed = f.sub(now, start);
        let thousand = f.iconst(1000);
        let micros = f.udiv(elapsed, thousand);
        let bucket = f.ilog2(micros);
        let (map, address) = (f.map(STARTS), f.address(key));
        f.call_helper(Helper::MapDeleteElem, &[map, address]);
        let slot = f.push_stack("bucket", 16);
        f.store(slot, Width::W64, bucket);
        f.store_const(slot.at(8), Width::W64, 0);
        count(f, COUNTS, slot);
        f.end_if(open);
    });
}

#[test]
fn event_with_a_user_string() {
    check("event", 28, |f| {
        let (ring, size, flags) = (f.map(EVENTS), f.iconst(80), f.iconst(0));
        let record = f.call_helper(Helper::RingbufReserve, &[ring, size, flags]);
        let there = f.nonzero(record);
        let open = f.begin_if(there);
        let event = f.pointer(Mem::Bpf, record);
        let now = f.call_helper(Helper::KtimeGetNs, &[]);
        f.store(event, Width::W64, now);
        let pid = pid(f);
        f.store(event.at(8), Width::W32, pid);
        current_comm(f, event.at(16));
        let user = f.load(f.ctx().at(24), Width::W64);
        let (text, size) = (f.address(event.at(32)), f.iconst(48));
        let length = f.call_helper(Helper::ProbeReadUserStr, &[text, size, user]);
        f.store(event.at(12), Width::W32, length);
        let none = f.iconst(0);
        f.call_helper(Helper::RingbufSubmit, &[record, none]);
        f.end_if(open);
    });
}
