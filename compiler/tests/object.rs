//! Objects as others see them: llvm-objdump, bpftool, libbpf and the verifier.
//!
//! The object is assembled by hand: a map, read-only data, a subprogram, a
//! callback, a kernel symbol, a relocated field and source lines, all in one.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::process::Command;

use btc::btf::BtfSources;
use btc::btf::core::{CoreKind, CoreTable, Step};
use btc::btf::encode::{KsymDef, KsymKind, MapDef, MapPart, VariableDef};
use btc::ctypes::TypeStore;
use btc::elf::{CoreSlot, Extern, ExternId, Function, FunctionId, Line, MapIndex, ObjectInput, Reloc, Role, Target};

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
    Function { name: name.into(), role: Role::Subprogram { params }, code, relocs: vec![], core: vec![], lines }
}

fn line(slot: u32, line: u32, text: &str) -> Line {
    Line { slot, file: "sample.bt".into(), text: text.into(), line, column: 5 }
}

/// The object, by the types of the running kernel.
fn object(types: &TypeStore) -> Vec<u8> {
    let mut core = CoreTable::new();
    let task = types.find_struct("task_struct").unwrap();
    let path: Vec<Step> = types.field(task, "pid").unwrap().indices.into_iter().map(Step::Member).collect();
    let pid = core.intern(types, CoreKind::FieldByteOffset, task, &path).unwrap();
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
        variables: vec![VariableDef { name: "parameters".into(), offset: 0, ty: MapPart::Bytes(16) }],
        license: "GPL".into(),
        externs: vec![Extern { symbol: KsymDef { name: "vfs_read".into(), kind: KsymKind::Address }, weak: false }],
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

/// The object in a file; `None` where the running kernel shows no BTF.
fn sample(dir: &Path) -> Option<String> {
    let Ok(sources) = BtfSources::running() else {
        eprintln!("SKIP: no /sys/kernel/btf/vmlinux");
        return None;
    };
    let path = dir.join("sample.bpf.o");
    std::fs::write(&path, object(&TypeStore::new(sources))).unwrap();
    Some(path.to_str().unwrap().into())
}

#[test]
fn llvm_objdump_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = sample(dir.path()) else { return };
    let Some(text) = output("llvm-objdump", &["-d", "-r", "-h", &path]) else { return };
    expect(
        &text,
        &[
            "<on_event>:",
            "<on_other>:",
            "<each>:",
            "R_BPF_64_64\tat_counts",
            "R_BPF_64_64\t.rodata",
            "R_BPF_64_64\t.text",
            "R_BPF_64_64\tvfs_read",
            "R_BPF_64_32\thelper",
            ".maps",
            ".BTF.ext",
        ],
    );
}

#[test]
fn bpftool_reads_its_types() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = sample(dir.path()) else { return };
    let Some(text) = output("bpftool", &["btf", "dump", "file", &path]) else { return };
    expect(&text, &["STRUCT 'task_struct'", "'pid'", "FUNC 'on_event'", "DATASEC '.maps'", "VAR 'at_counts'"]);
    expect(&text, &["linkage=static", "DATASEC '.ksyms'", "DATASEC '.rodata'"]);
}

#[test]
fn kernel_loads_it() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = sample(dir.path()) else { return };
    // In a mount namespace, so that the pins go with the command.
    let script = format!(
        "mkdir {0}/bpf && cd {0}/bpf && mount -t bpf bpf . && bpftool prog loadall {path} {0}/bpf/p 2>&1 && \
         bpftool prog dump xlated pinned {0}/bpf/p/on_event linum && bpftool prog show pinned {0}/bpf/p/on_other",
        dir.path().display()
    );
    let works = |tool: &str, args: &[&str]| Command::new(tool).args(args).output().is_ok_and(|o| o.status.success());
    if !works("unshare", &["-m", "true"]) || !works("bpftool", &["prog", "show"]) {
        eprintln!("SKIP: needs bpftool, unshare and the right to use bpf()");
        return;
    }
    let Some(text) = output("unshare", &["-m", "sh", "-c", &script]) else { return };
    expect(&text, &["@[pid] = count();", "line_num:3", "line_num:4", "helper", "on_other"]);
}
