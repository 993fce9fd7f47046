//! Scripts through the whole compiler up to BPF code.
//!
//! Every script of [`SCRIPTS`] must compile; with `BTC_OBJECTS=DIR` its object is
//! written there, once for an old kernel and once for a new one, for a verifier
//! to look at.

use std::rc::Rc;

use super::*;
use crate::bpf;
use crate::btf::BtfSources;
use crate::btf::core::CoreId;
use crate::btf::encode::{MapDef, MapPart};
use crate::diagnostic::Diagnostics;
use crate::elf::{self, CoreSlot, FunctionId, Line, MapIndex, ObjectInput, Reloc, Target as Operand_};
use crate::opt::{self, Level};
use crate::sema::{self, Constant, Environment, Facts, Tracepoint, TracepointField};
use crate::syntax::parse::{ParseOptions, parse_script};
use crate::target::X86_64;

/// Three tracepoints, as kernel 6.12 has them.
struct Sample<'t>(&'t TypeStore);

impl Sample<'_> {
    fn field(&self, name: &str, ty: CTypeId, offset: u32, size: u32, data_loc: bool) -> TracepointField {
        TracepointField { name: name.into(), ty, offset, size, signed: false, data_loc, relative: false }
    }
}

impl Facts for Sample<'_> {
    fn tracepoints(&self, category: &str, event: &str) -> Vec<Rc<Tracepoint>> {
        let t = self.0;
        let char = t.integer("char").unwrap();
        let (int, text, comm) = (t.int(4, true), t.pointer_to(char), t.array_of(char, 16));
        let strings = t.pointer_to(text);
        let fields = match (category, event) {
            ("syscalls", "sys_enter_openat") => vec![
                self.field("dfd", int, 16, 8, false),
                self.field("filename", text, 24, 8, false),
                self.field("flags", int, 32, 8, false),
            ],
            ("syscalls", "sys_enter_execve") => {
                vec![self.field("filename", text, 16, 8, false), self.field("argv", strings, 24, 8, false)]
            }
            ("sched", "sched_switch") => vec![
                self.field("prev_comm", comm, 8, 16, false),
                self.field("prev_pid", int, 24, 4, false),
                self.field("next_pid", int, 56, 4, false),
            ],
            ("sched", "sched_process_exec") => {
                vec![self.field("filename", t.array_of(char, 0), 8, 4, true), self.field("pid", int, 12, 4, false)]
            }
            _ => return Vec::new(),
        };
        vec![Rc::new(Tracepoint { category: category.into(), event: event.into(), fields })]
    }

    fn symbol_size(&self, _: &str, _: &str) -> Option<u64> {
        None
    }

    fn constant(&self, _: &str) -> Option<Constant> {
        None
    }

    fn similar_tracepoint(&self, _: &str, _: &str) -> Option<String> {
        None
    }
}

/// Builds a script up to [`Lowered`], or the messages.
fn build(types: &TypeStore, text: &str) -> Result<(Lowered, SourceMap), String> {
    let mut sources = SourceMap::default();
    let file = sources.add("test.bt", None, text.to_owned());
    let mut problems = Diagnostics::default();
    let render = |sources: &SourceMap, list: &[&Diagnostic]| {
        list.iter().map(|d| crate::diagnostic::render(d, sources, false)).collect::<String>()
    };
    let options = ParseOptions { is_value: &|_| false };
    let Some(script) = parse_script(file, text, &options, &mut problems) else {
        return Err(render(&sources, &problems.sorted()));
    };
    let facts = Sample(types);
    let imported = crate::cobject::Functions::default();
    let env = Environment {
        imported: &imported,
        types,
        facts: &facts,
        allow_unsafe: true,
        settings: Vec::new(),
        limits: Default::default(),
        purpose: Default::default(),
        parameters: Vec::new(),
    };
    let (program, messages) = sema::analyse(&script, &env);
    if messages.iter().any(Diagnostic::is_error) {
        return Err(render(&sources, &messages.iter().collect::<Vec<_>>()));
    }
    let violations = crate::hir::verify::verify(&program);
    if !violations.is_empty() {
        let list = violations.iter().map(|v| format!("{}: {}", sources.text(v.span), v.what));
        return Err(list.collect::<Vec<_>>().join("\n") + "\n" + &crate::hir::print::dump(&program, types));
    }
    match lower(&program, types, &sources, &X86_64, Temporaries::OnStack) {
        Ok(lowered) => Ok((lowered, sources)),
        Err(list) => Err(render(&sources, &list.iter().collect::<Vec<_>>())),
    }
}

fn part(size: u32) -> MapPart {
    if size == 4 { MapPart::Int { size, signed: false } } else { MapPart::Bytes(size) }
}

fn map_def(m: &btc_payload::manifest::Map) -> MapDef {
    let map_type = m.kind.bpf_map_type();
    let ring = m.kind == MapKind::RingBuffer;
    let (key, value) =
        if ring { (MapPart::Absent, MapPart::Absent) } else { (part(m.key_size()), part(m.value_size())) };
    let max_entries = if ring { 1 << 20 } else { m.max_entries.unwrap_or(8) };
    MapDef { name: m.symbol.clone(), map_type, key, value, max_entries, flags: 0 }
}

/// The object, with all features of the kernel present or missing.
fn object(types: &TypeStore, lowered: &Lowered, sources: &SourceMap, new_kernel: bool) -> Result<Vec<u8>, String> {
    let mut functions = Vec::new();
    for (func, what) in lowered.module.funcs.iter().zip(&lowered.functions) {
        let optimized = opt::optimize(func, Level::Full).map_err(|e| e.to_string())?;
        let code = bpf::compile(&lowered.module, &optimized).map_err(|e| e.to_string())?;
        let (mut relocs, mut core) = (Vec::new(), Vec::new());
        for r in &code.relocs {
            let slot = r.insn as u32;
            let call = code.insns[r.insn].to_bytes()[0] == 0x85;
            let target = match lowered.module.symbols.get(r.symbol).unwrap() {
                Symbol::Map(n) => Operand_::Map(MapIndex(n)),
                Symbol::Rodata(offset) => Operand_::Rodata { offset },
                Symbol::Data(offset) => Operand_::Data { offset },
                Symbol::Subprog(f) if call => Operand_::Call(FunctionId(f.0)),
                Symbol::Subprog(f) => Operand_::Callback(FunctionId(f.0)),
                Symbol::Core { record, .. } => {
                    core.push(CoreSlot { slot, relocation: CoreId(record) });
                    continue;
                }
                _ => continue,
            };
            relocs.push(Reloc { slot, target });
        }
        let role = match what.role {
            Role::Program(kind) => elf::Role::Program { section: kind.section() },
            Role::Subprogram => elf::Role::Subprogram { params: 1 },
            Role::LoopCallback => elf::Role::Subprogram { params: 2 },
            Role::MapCallback => elf::Role::Subprogram { params: 4 },
            Role::Global => elf::Role::Global { params: func.ir.signature.params.len() as u8 },
        };
        let lines = code.lines.iter().filter_map(|l| {
            let span = lowered.spans.get(l.srcloc as usize)?;
            let file = sources.file(span.file);
            let at = file.position(span.start);
            let text = file.line(at.line).trim().to_owned();
            Some(Line { slot: l.insn as u32, file: file.name.clone(), text, line: at.line, column: at.column })
        });
        let lines = lines.collect();
        let mut bytes = code.to_bytes();
        if !new_kernel {
            replace_fetching_atomics(&mut bytes);
        }
        functions.push(elf::Function {
            name: func.name.clone(),
            role,
            code: bytes,
            relocs,
            core,
            lines,
            copied: Vec::new(),
        });
    }
    let mut rodata = lowered.rodata.clone();
    for slot in &lowered.manifest.slots {
        let value = match slot.value {
            StartValue::Feature(_) => u8::from(new_kernel),
            StartValue::Cpus => 2,
            _ => continue,
        };
        rodata[slot.offset as usize] = value;
    }
    let maps = lowered.manifest.maps.iter().filter(|m| !m.role.is_section()).map(map_def).collect();
    elf::write(&ObjectInput {
        types,
        core: &lowered.core,
        functions,
        maps,
        rodata,
        data: lowered.data,
        variables: Vec::new(),
        license: "GPL".into(),
        externs: Vec::new(),
        copied: Default::default(),
        sections: vec![],
    })
    .map_err(|e| format!("{e:#}"))
}

/// What the runtime does on kernels before 5.12, which refuse atomic operations
/// with a result even where they cannot be reached.
fn replace_fetching_atomics(code: &mut [u8]) {
    for insn in code.chunks_exact_mut(8) {
        if matches!(insn[0], 0xdb | 0xc3) && insn[4] & 1 != 0 {
            insn.copy_from_slice(&[0xb7, insn[1] >> 4, 0, 0, 0, 0, 0, 0]);
        }
    }
}

/// Scripts and the names of their objects.
const SCRIPTS: &[(&str, &str)] = &[
    ("hello", "BEGIN { printf(\"hello %d\\n\", 42); }"),
    ("count", "tracepoint:syscalls:sys_enter_openat { @[comm] = count(); @s[pid, tid] = sum(args.flags); }"),
    ("opens", "tracepoint:syscalls:sys_enter_openat { printf(\"%s %s\\n\", comm, str(args.filename)); }"),
    ("exec", "tracepoint:sched:sched_process_exec { printf(\"%d %s\\n\", args.pid, str(args.filename)); }"),
    ("argv", "tracepoint:syscalls:sys_enter_execve { join(args.argv); }"),
    ("switch", "tracepoint:sched:sched_switch { @[args.prev_comm, args.prev_pid] = count(); }"),
    (
        "strings",
        "tracepoint:syscalls:sys_enter_openat /comm == \"bash\"/ { @p[str(args.filename)] = nsecs; $s = str(args.filename); if ($s == \"/etc/passwd\") { @hit++; } @last = $s; }",
    ),
    (
        "task",
        "tracepoint:syscalls:sys_enter_openat { $t = (struct task_struct *)curtask; printf(\"%d %d %s\\n\", $t->pid, $t->real_parent->tgid, $t->comm); }",
    ),
    (
        "hist",
        "kprobe:vfs_read { @start[tid] = nsecs; } kretprobe:vfs_read /@start[tid]/ { @us = hist((nsecs - @start[tid]) / 1000); @l = lhist(retval, 0, 100, 10); @a = avg(retval); @mi = min(retval); @ma = max(retval); @st = stats(retval); delete(@start[tid]); }",
    ),
    (
        "arith",
        "BEGIN { $a = 7; $b = (int32)$a * -3; $c = $b / 2; $d = $b % 4; $e = $a << 3 | 1; $f = !$a; $g = ~$a; $h = $a > 3 ? 1 : 2; @x = $c + $d + $e + $f + $g + $h; @y = (uint8)300; @x += 2; @x++; --@x; }",
    ),
    (
        "flow",
        "BEGIN { $i = 0; while ($i < 10) { $i++; if ($i == 3) { continue; } if ($i > 7) { break; } @[$i] = $i * 2; } unroll(5) { @u++; } if ($i == 3 || $i == 4 && @u > 2) { return; } }",
    ),
    ("stacks", "kprobe:vfs_read { @[kstack, ustack(3)] = count(); printf(\"%s\", kstack(5)); }"),
    (
        "tuples",
        "BEGIN { $t = (1, \"abc\", (2, 3)); @[$t] = 1; @v = $t; printf(\"%d %s\", $t.0, $t.1); if ($t == (1, \"abc\", (2, 3))) { print($t); } }",
    ),
    (
        "strlib",
        "tracepoint:syscalls:sys_enter_openat { $s = str(args.filename); @n = strlen($s); @c = strncmp($s, \"/etc\", 4); if (strstr($s, \"passwd\") >= 0) { @hits++; } @d = $s == str(args.filename); }",
    ),
    (
        "formap",
        "BEGIN { @m[1] = 2; @c[3] = count(); $sum = 0; for ($kv : @m) { $sum += $kv.1; if ($kv.0 == 7) { break; } @z[$kv.0] = $kv.1; } for ($kv : @c) { printf(\"%d %d\\n\", $kv.0, $kv.1); } @s = $sum; @len = len(@m); }",
    ),
    (
        "forrange",
        "BEGIN { for ($i : 0..5) { @[$i] = $i; } $n = 0; for ($i : 0..1000) { $n += $i; if ($i == 900) { break; } } @n = $n; }",
    ),
    (
        "aggread",
        "kprobe:vfs_read { @c = count(); if (@c > 100) { printf(\"%d\\n\", @c); } @m = max(arg2); if (@m > 10) { printf(\"%d\", @m); } }",
    ),
    (
        "uprobe",
        "uprobe:/bin/bash:readline { printf(\"%s %d\\n\", str(arg0), arg1); } uretprobe:/bin/bash:readline { printf(\"%s\\n\", str(retval)); @[ustack] = count(); }",
    ),
    (
        "timers",
        "interval:s:1 { print(@); clear(@); time(\"%H\"); exit(); } profile:hz:99 { @k[kstack] = count(); @ = count(); }",
    ),
    (
        "bits",
        "kprobe:tcp_v4_connect { $sk = (struct tcp_sock *)arg0; @[$sk->inet_conn.icsk_ca_state] = count(); printf(\"%d\", ((struct sock *)arg0)->__sk_common.skc_family); }",
    ),
    (
        "bufs",
        "tracepoint:syscalls:sys_enter_openat { printf(\"%r\", buf(args.filename, 16)); @b = buf(args.filename, args.flags); }",
    ),
    (
        "net",
        "kprobe:tcp_v4_connect { $sk = (struct sock *)arg0; printf(\"%s %s\\n\", ntop($sk->__sk_common.skc_daddr), ntop(10, $sk->__sk_common.skc_v6_daddr.in6_u.u6_addr8)); printf(\"%d\", bswap($sk->__sk_common.skc_dport)); }",
    ),
    ("concat", "tracepoint:syscalls:sys_enter_openat { printf(\"%s\", str_concat(comm, str(args.filename))); }"),
    (
        "byvalue",
        "kprobe:vfs_read { $p = ((struct file *)arg0)->f_path; @p = $p; print(((struct task_struct *)curtask)->utime); }",
    ),
    (
        "elapsed",
        "BEGIN { printf(\"%d %d %d %d %d\", elapsed, cpu, rand, uid, gid); printf(\"%s\", strftime(\"%H\", nsecs)); }",
    ),
    ("params", "BEGIN { printf(\"%d %s %d\\n\", $1, str($2), $#); @ = $1; }"),
    ("probes", "kprobe:vfs_* { @[probe, func] = count(); }"),
];

fn types() -> TypeStore {
    TypeStore::new(BtfSources::reference().expect("the bundled reference"))
}

#[test]
fn scripts_compile() {
    let types = types();
    let mut failures = String::new();
    for (name, text) in SCRIPTS {
        let result = build(&types, text).and_then(|(lowered, sources)| {
            for new_kernel in [false, true] {
                let bytes = object(&types, &lowered, &sources, new_kernel)?;
                if let Some(dir) = std::env::var_os("BTC_OBJECTS") {
                    let file = format!("{name}.{}.o", if new_kernel { "new" } else { "old" });
                    std::fs::write(std::path::Path::new(&dir).join(file), bytes).map_err(|e| e.to_string())?;
                }
            }
            if std::env::var_os("BTC_CLIF").is_some_and(|n| n.to_str() == Some(name)) {
                println!("{}", lowered.module);
            }
            Ok(())
        });
        if let Err(why) = result {
            failures.push_str(&format!("--- {name}: {text}\n{why}\n"));
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
