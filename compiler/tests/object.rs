//! Objects as others see them: llvm-objdump, bpftool, libbpf and the verifier.
//!
//! Two objects, one assembled by hand, one compiled. Each has all at once: maps,
//! read-only data, a subprogram, a callback, a relocated field, source lines.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::convert::Infallible;
use std::process::Command;

use btc::bpf;
use btc::btf::BtfSources;
use btc::btf::core::{CoreId, CoreKind, CoreTable, Step};
use btc::btf::encode::{KsymDef, KsymKind, MapDef, MapPart, VariableDef};
use btc::clif::{Func, FuncBuilder, FuncId, Mem, Module, Symbol, Width};
use btc::ctypes::TypeStore;
use btc::elf::{CoreSlot, Extern, ExternId, Function, FunctionId, Line, MapIndex, ObjectInput, Reloc, Role, Target};
use btc::helper::Helper;
use btc::opt::{self, Level};

/// An instruction: opcode, destination, source, offset, immediate.
struct Insn(u8, u8, u8, i16, i32);

const LOAD: u8 = 0x18;
const CALL: u8 = 0x85;
const BPF_MAP_LOOKUP_ELEM: i32 = 1;
const BPF_GET_CURRENT_TASK: i32 = 35;
const BPF_PROBE_READ_KERNEL: i32 = 113;
const BPF_FOR_EACH_MAP_ELEM: i32 = 164;

fn encode(insns: &[Insn]) -> Vec<u8> {
    let mut out = Vec::new();
    for Insn(opcode, dst, src, offset, imm) in insns {
        out.extend([*opcode, dst | src << 4]);
        out.extend(offset.to_le_bytes());
        out.extend(imm.to_le_bytes());
        if *opcode == LOAD {
            out.extend([0; 8]);
        }
    }
    out
}

/// `pid` of the current task by a relocated offset, then one use of everything else.
/// The number of the slot of each relocation is in the comment.
fn program(pid_offset: u64) -> Vec<u8> {
    encode(&[
        Insn(0x7a, 10, 0, -8, 0),                   // 0: *(u64 *)(fp - 8) = 0
        Insn(CALL, 0, 0, 0, BPF_GET_CURRENT_TASK),  // 1
        Insn(0xbf, 3, 0, 0, 0),                     // 2: r3 = r0
        Insn(0x07, 3, 0, 0, pid_offset as i32),     // 3: r3 += pid
        Insn(0xbf, 1, 10, 0, 0),                    // 4: r1 = fp
        Insn(0x07, 1, 0, 0, -8),                    // 5: r1 -= 8
        Insn(0xb7, 2, 0, 0, 4),                     // 6: r2 = 4
        Insn(CALL, 0, 0, 0, BPF_PROBE_READ_KERNEL), // 7
        Insn(LOAD, 1, 0, 0, 0),                     // 8: r1 = map
        Insn(0xbf, 2, 10, 0, 0),                    // 10: r2 = fp
        Insn(0x07, 2, 0, 0, -8),                    // 11: r2 -= 8
        Insn(CALL, 0, 0, 0, BPF_MAP_LOOKUP_ELEM),   // 12
        Insn(LOAD, 1, 0, 0, 0),                     // 13: r1 = .rodata + 8
        Insn(0x79, 6, 1, 0, 0),                     // 15: r6 = *(u64 *)r1
        Insn(LOAD, 1, 0, 0, 0),                     // 16: r1 = map
        Insn(LOAD, 2, 0, 0, 0),                     // 18: r2 = callback
        Insn(0xb7, 3, 0, 0, 0),                     // 20: r3 = 0
        Insn(0xb7, 4, 0, 0, 0),                     // 21: r4 = 0
        Insn(CALL, 0, 0, 0, BPF_FOR_EACH_MAP_ELEM), // 22
        Insn(LOAD, 7, 0, 0, 0),                     // 23: r7 = &vfs_read
        Insn(CALL, 0, 0, 0, 0),                     // 25: helper()
        Insn(0x95, 0, 0, 0, 0),                     // 26
    ])
}

fn subprogram(name: &str, params: u8, result: i32) -> Function {
    let code = encode(&[Insn(0xb7, 0, 0, 0, result), Insn(0x95, 0, 0, 0, 0)]);
    let lines = vec![line(0, 7, "    helper")];
    Function {
        name: name.into(),
        role: Role::Subprogram { params },
        code,
        relocs: vec![],
        core: vec![],
        lines,
        copied: vec![],
    }
}

fn line(slot: u32, line: u32, text: &str) -> Line {
    Line { slot, file: "sample.bt".into(), text: text.into(), line, column: 5 }
}

/// The offset of `task_struct.pid`, entered into a table.
fn task_pid(types: &TypeStore, core: &mut CoreTable) -> CoreId {
    let task = types.find_struct("task_struct").unwrap();
    let path: Vec<Step> = types.field(task, "pid").unwrap().indices.into_iter().map(Step::Member).collect();
    core.intern(types, CoreKind::FieldByteOffset, task, &path).unwrap()
}

/// The object assembled by hand, by the types of the running kernel.
fn object(types: &TypeStore) -> Vec<u8> {
    let mut core = CoreTable::new();
    let pid = task_pid(types, &mut core);
    let reloc = |slot, target| Reloc { slot, target };
    let main = Function {
        name: "on_event".into(),
        role: Role::Program { section: "tracepoint" },
        code: program(core.local_value(types, pid)),
        relocs: vec![
            reloc(8, Target::Map(MapIndex(1))),
            reloc(13, Target::Rodata { offset: 8 }),
            reloc(16, Target::Map(MapIndex(1))),
            reloc(18, Target::Callback(FunctionId(3))),
            reloc(23, Target::Extern(ExternId(0))),
            reloc(25, Target::Call(FunctionId(2))),
        ],
        core: vec![CoreSlot { slot: 3, relocation: pid }],
        copied: vec![],
        lines: vec![line(0, 3, "  @[pid] = count();"), line(22, 4, "  print(@);")],
    };
    let second = Function { name: "on_other".into(), ..subprogram("", 0, 0) };
    let second = Function { role: Role::Program { section: "tracepoint" }, ..second };
    let int = MapPart::Int { size: 8, signed: false };
    let map = |name: &str, map_type, key, value, max_entries| MapDef {
        name: name.into(),
        map_type,
        key,
        value,
        max_entries,
        flags: 0,
    };
    let input = ObjectInput {
        types,
        core: &core,
        functions: vec![main, second, subprogram("helper", 0, 7), subprogram("each", 4, 0)],
        maps: vec![
            map("events", 27, MapPart::Absent, MapPart::Absent, 1 << 16),
            map("at_counts", 1, int, MapPart::Bytes(24), 64),
        ],
        rodata: (0..16).collect(),
        data: 0,
        variables: vec![VariableDef { name: "parameters".into(), offset: 0, ty: MapPart::Bytes(16) }],
        license: "GPL".into(),
        externs: vec![Extern { symbol: KsymDef { name: "vfs_read".into(), kind: KsymKind::Address }, weak: false }],
        copied: Default::default(),
        sections: vec![],
    };
    btc::elf::write(&input).unwrap()
}

/// Compiles functions into a module: a callback, a subprogram, and a program that uses all.
fn module(pid: Symbol) -> Module {
    let mut module = Module::new();
    let [each, twice, main] = [("each", 4), ("twice", 1), ("on_event", 1)].map(|(n, params)| module.declare(n, params));
    let mut define = |id: FuncId, body: &dyn Fn(&mut FuncBuilder<'_>)| {
        let defined: Result<(), Infallible> = module.define(id, |f| {
            body(f);
            Ok(())
        });
        defined.unwrap();
    };
    define(each, &|f| f.ret_const(0));
    define(twice, &|f| {
        let sum = f.add(f.param(0), f.param(0));
        f.ret(sum);
    });
    define(main, &|f| {
        f.set_srcloc(0);
        let field = f.load(f.ctx().at(16), Width::W64);
        let key = f.push_stack("key", 8);
        f.store(key, Width::W64, field);
        let task = f.call_helper(Helper::GetCurrentTask, &[]);
        let pid = f.field(f.pointer(Mem::Bpf, task), pid);
        let (key, four, from) = (f.address(key), f.iconst(4), f.address(pid));
        f.call_helper(Helper::ProbeReadKernel, &[key, four, from]);
        f.set_srcloc(1);
        let (map, zero) = (f.map(0), f.iconst(0));
        f.call_helper(Helper::MapLookupElem, &[map, key]);
        let callback = f.symbol(Symbol::Subprog(each));
        f.call_helper(Helper::ForEachMapElem, &[map, callback, zero, zero]);
        f.set_srcloc(2);
        let parameter = f.rodata(8);
        let parameter = f.load(parameter, Width::W64);
        let result = f.call_subprog(twice, &[parameter]);
        f.ret(result);
    });
    module
}

/// The compiled object, by the types of the running kernel.
fn compiled(types: &TypeStore) -> Vec<u8> {
    let mut core = CoreTable::new();
    let pid = task_pid(types, &mut core);
    let module = module(Symbol::Core { record: pid.0, local: core.local_value(types, pid), wide: false });
    let function = |f: &Func| {
        let code = bpf::compile(&module, &opt::optimize(f, Level::Full).unwrap()).unwrap();
        let (mut relocs, mut core) = (Vec::new(), Vec::new());
        for r in &code.relocs {
            let slot = r.insn as u32;
            let call = code.insns[r.insn].opcode == CALL;
            let target = match module.symbols.get(r.symbol).unwrap() {
                Symbol::Map(n) => Target::Map(MapIndex(n)),
                Symbol::Rodata(offset) => Target::Rodata { offset },
                Symbol::Subprog(id) if call => Target::Call(FunctionId(id.0)),
                Symbol::Subprog(id) => Target::Callback(FunctionId(id.0)),
                Symbol::Core { record, .. } => {
                    core.push(CoreSlot { slot, relocation: CoreId(record) });
                    continue;
                }
                other => panic!("{other}"),
            };
            relocs.push(Reloc { slot, target });
        }
        let params = f.ir.signature.params.len() as u8;
        let role = match f.name.as_str() {
            "on_event" => Role::Program { section: "tracepoint" },
            _ => Role::Subprogram { params },
        };
        let texts = ["first line;", "  @[pid] = count();", "  second($1);"];
        let lines = code.lines.iter().map(|l| line(l.insn as u32, l.srcloc + 1, texts[l.srcloc as usize]));
        Function {
            name: f.name.clone(),
            role,
            code: code.to_bytes(),
            relocs,
            core,
            lines: lines.collect(),
            copied: vec![],
        }
    };
    let map = |name: &str, map_type, key, value| MapDef {
        name: name.into(),
        map_type,
        key,
        value,
        max_entries: 4096,
        flags: 0,
    };
    let int = |size| MapPart::Int { size, signed: false };
    let input = ObjectInput {
        types,
        core: &core,
        functions: module.funcs.iter().map(function).collect(),
        maps: vec![
            map("at_counts", 5, MapPart::Bytes(8), MapPart::Bytes(8)),
            map("events", 27, MapPart::Absent, MapPart::Absent),
            map("losses", 6, int(4), MapPart::Bytes(24)),
        ],
        rodata: vec![7; 16],
        data: 0,
        variables: vec![],
        license: "GPL".into(),
        externs: vec![],
        copied: Default::default(),
        sections: vec![],
    };
    btc::elf::write(&input).unwrap()
}

/// Output of a command; `None`, with the reason on stderr, where there is no such tool.
fn output(program: &str, args: &[&str]) -> Option<String> {
    match Command::new(program).args(args).output() {
        Err(e) => {
            eprintln!("SKIP: {program}: {e}");
            None
        }
        Ok(out) => {
            let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
            assert!(out.status.success(), "{program} {args:?}: {}\n{text}", out.status);
            Some(text)
        }
    }
}

fn expect(text: &str, wanted: &[&str]) {
    for w in wanted {
        assert!(text.contains(w), "no `{w}` in\n{text}");
    }
}

/// The types of the running kernel; `None` where it shows none.
fn running() -> Option<TypeStore> {
    match BtfSources::running() {
        Ok(sources) => Some(TypeStore::new(sources)),
        Err(_) => {
            eprintln!("SKIP: no /sys/kernel/btf/vmlinux");
            None
        }
    }
}

/// Puts an object into a file of `dir`.
fn file(dir: &tempfile::TempDir, object: &[u8]) -> String {
    let path = dir.path().join("sample.bpf.o");
    std::fs::write(&path, object).unwrap();
    path.to_str().unwrap().into()
}

/// Loads an object with bpftool; what it and the kernel say of the program `on_event`.
fn loaded(dir: &tempfile::TempDir, path: &str) -> Option<String> {
    let works = |tool: &str, args: &[&str]| Command::new(tool).args(args).output().is_ok_and(|o| o.status.success());
    if !works("unshare", &["-m", "true"]) || !works("bpftool", &["prog", "show"]) {
        eprintln!("SKIP: needs bpftool, unshare and the right to use bpf()");
        return None;
    }
    // In a mount namespace, so that the pins go with the command.
    let script = format!(
        "mkdir {0}/bpf && cd {0}/bpf && mount -t bpf bpf . && bpftool prog loadall {path} {0}/bpf/p 2>&1 && \
         ls {0}/bpf/p && bpftool prog dump xlated pinned {0}/bpf/p/on_event linum",
        dir.path().display()
    );
    output("unshare", &["-m", "sh", "-c", &script])
}

#[test]
fn llvm_objdump_reads_it() {
    let (Some(types), Ok(dir)) = (running(), tempfile::tempdir()) else { return };
    let Some(text) = output("llvm-objdump", &["-d", "-r", "-h", &file(&dir, &object(&types))]) else { return };
    expect(&text, &["<on_event>:", "<on_other>:", "<each>:", ".maps", ".BTF.ext"]);
    expect(&text, &["R_BPF_64_64\tat_counts", "R_BPF_64_64\t.rodata", "R_BPF_64_64\t.text"]);
    expect(&text, &["R_BPF_64_64\tvfs_read", "R_BPF_64_32\thelper"]);
}

#[test]
fn bpftool_reads_its_types() {
    let (Some(types), Ok(dir)) = (running(), tempfile::tempdir()) else { return };
    let Some(text) = output("bpftool", &["btf", "dump", "file", &file(&dir, &object(&types))]) else { return };
    expect(&text, &["STRUCT 'task_struct'", "'pid'", "FUNC 'on_event'", "DATASEC '.maps'", "VAR 'at_counts'"]);
    expect(&text, &["linkage=static", "DATASEC '.ksyms'", "DATASEC '.rodata'"]);
}

#[test]
fn kernel_loads_what_was_assembled() {
    let (Some(types), Ok(dir)) = (running(), tempfile::tempdir()) else { return };
    let Some(text) = loaded(&dir, &file(&dir, &object(&types))) else { return };
    expect(&text, &["@[pid] = count();", "line_num:3", "line_num:4", "helper", "on_other"]);
}

#[test]
fn kernel_loads_what_was_compiled() {
    let (Some(types), Ok(dir)) = (running(), tempfile::tempdir()) else { return };
    let Some(text) = loaded(&dir, &file(&dir, &compiled(&types))) else { return };
    expect(&text, &["first line;", "line_num:2", "second($1);", "each", "twice() [file:<generated>"]);
}
