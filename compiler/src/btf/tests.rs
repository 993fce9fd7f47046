//! What the writer writes, read back by btf-rs, and by bpftool where installed.

use std::process::Command;

use btf_rs::{BtfType, Type};

use super::copy::CopiedType;
use super::core::{CoreError, CoreKind, CoreTable, Step};
use super::encode::*;
use super::{Btf, BtfSources, Kind};
use crate::ctypes::{CTypeId, TypeStore};

const KERNEL: &[u8] = include_bytes!("../../../tests/fixtures/btf/kernel.btf");

fn store() -> TypeStore {
    let sources = BtfSources::from_bytes(KERNEL.to_vec(), vec![]);
    TypeStore::new(sources.expect("the fixture"))
}

fn member_path(store: &TypeStore, ty: CTypeId, names: &[&str]) -> Vec<Step> {
    let mut at = ty;
    let mut steps = Vec::new();
    for name in names {
        let field = store.field(at, name).expect(name);
        steps.extend(field.indices.iter().map(|&i| Step::Member(i)));
        at = field.ty;
    }
    steps
}

#[test]
fn values_follow_the_kernel_s_rules() {
    use CoreKind::*;
    let store = store();
    let task = store.find_struct("task").expect("struct task");
    let mut core = CoreTable::new();
    let mut value = |kind, names: &[&str]| {
        let path = member_path(&store, task, names);
        let id = core.intern(&store, kind, task, &path).expect("a relocation");
        core.local_value(&store, id)
    };
    assert_eq!(value(FieldByteOffset, &["parent"]), 24);
    assert_eq!(value(FieldByteSize, &["comm"]), 16);
    assert_eq!(value(FieldByteOffset, &["gid"]), 60);
    assert_eq!(value(FieldExists, &["gid"]), 1);
    assert_eq!(value(FieldSigned, &["pid"]), 1);
    assert_eq!(value(FieldSigned, &["gid"]), 0);
    // sign: 5 bits from bit 10, in the 4-byte word of its type.
    assert_eq!(value(FieldByteOffset, &["flags", "sign"]), 80);
    assert_eq!(value(FieldByteSize, &["flags", "sign"]), 4);
    assert_eq!(value(FieldLshiftU64, &["flags", "sign"]), 49);
    assert_eq!(value(FieldRshiftU64, &["flags", "sign"]), 59);
    // wide: 40 bits from bit 15, in 8 bytes.
    assert_eq!(value(FieldByteSize, &["flags", "wide"]), 8);
    assert_eq!(value(FieldLshiftU64, &["flags", "wide"]), 9);
    assert_eq!(value(FieldRshiftU64, &["flags", "wide"]), 24);
    assert_eq!(value(TypeSize, &[]), 120);
}

#[test]
fn relocations_are_entered_once_and_only_if_possible() {
    let store = store();
    let task = store.find_struct("task").expect("struct task");
    let mut core = CoreTable::new();
    let points = store.field(task, "points").expect("points").indices[0];
    let path = [Step::Member(points), Step::Index(2), Step::Member(1)];
    let kind = CoreKind::FieldByteOffset;
    let y = core.intern(&store, kind, task, &path).expect("points[2].y");
    assert_eq!(core.intern(&store, kind, task, &path), Ok(y));
    assert_eq!(core.display(&store, y), "byte_off struct task.points[2].y = 74");
    assert_eq!(core.len(), 1);
    let outside = [Step::Member(points), Step::Index(4)];
    assert_eq!(core.intern(&store, kind, task, &outside), Err(CoreError::BadPath));
    let int = store.int(4, true);
    assert_eq!(core.intern(&store, kind, int, &path), Err(CoreError::NotKernel));
    // An anonymous struct is named by its typedef, and not without it.
    let atomic = store.field(task, "usage").expect("usage").ty;
    let counter = [Step::Member(0)];
    let id = core.intern(&store, kind, atomic, &counter).expect("counter");
    assert_eq!(core.display(&store, id), "byte_off atomic_t.counter = 0");
    let bare = store.resolve(atomic);
    assert_eq!(core.intern(&store, kind, bare, &counter), Err(CoreError::Anonymous));
    let wide = store.find_enum("wide").expect("enum wide");
    let huge = core.intern(&store, CoreKind::EnumvalValue, wide, &[Step::Member(1)]);
    let text = core.display(&store, huge.expect("HUGE"));
    assert_eq!(text, "enumval_value enum wide::HUGE = 20015998343868");
}

fn map(name: &str, map_type: u32, key: MapPart, value: MapPart) -> MapDef {
    MapDef { name: name.into(), map_type, key, value, max_entries: 4096, flags: 0 }
}

/// An object with one of everything.
fn sample() -> (TypeStore, CoreTable, ObjectBtf) {
    let store = store();
    let task = store.find_struct("task").expect("struct task");
    let mut core = CoreTable::new();
    let mut uses = Vec::new();
    let mut relocate = |kind, root, path: &[Step]| {
        let relocation = core.intern(&store, kind, root, path).expect("a relocation");
        let offset = 8 * uses.len() as u32;
        uses.push(CoreUse { offset, relocation });
    };
    for names in [&["gid"][..], &["flags", "middle"], &["comm"], &["parent"], &["callback"]] {
        let path = member_path(&store, task, names);
        relocate(CoreKind::FieldByteOffset, task, &path);
    }
    let points = member_path(&store, task, &["points"])[0];
    let y = [points, Step::Index(2), Step::Member(1)];
    relocate(CoreKind::FieldByteOffset, task, &y);
    let atomic = store.field(task, "usage").expect("usage").ty;
    relocate(CoreKind::FieldByteSize, atomic, &[Step::Member(0)]);
    let state = store.find_enum("state").expect("enum state");
    relocate(CoreKind::EnumvalValue, state, &[Step::Member(2)]);
    relocate(CoreKind::TypeIdLocal, task, &[]);
    relocate(CoreKind::FieldExists, task, &member_path(&store, task, &["state"]));
    let line = |offset, line| LineDef { offset, file: "x.bt".into(), text: format!("line {line}"), line, column: 3 };
    let functions = [
        FunctionDef {
            name: "begin".into(),
            section: "tracepoint".into(),
            offset: 0,
            kind: FunctionKind::Program,
            lines: vec![line(8, 1), line(8, 2), line(24, 3)],
            relocations: uses,
            copied: vec![],
        },
        FunctionDef {
            name: "callback".into(),
            section: ".text".into(),
            offset: 16,
            kind: FunctionKind::Static { params: 4 },
            lines: vec![line(16, 9)],
            relocations: vec![],
            copied: vec![],
        },
    ];
    let maps = [
        map("counts", 1, MapPart::Bytes(24), MapPart::Int { size: 8, signed: false }),
        map("stacks", 7, MapPart::Size(4), MapPart::Size(1016)),
        map("events", 27, MapPart::Absent, MapPart::Absent),
    ];
    let variable = VariableDef { name: "pid_filter".into(), offset: 8, ty: MapPart::Int { size: 8, signed: true } };
    let sections = [SectionDef { name: ".rodata".into(), size: 16, variables: vec![variable] }];
    let read = store.find_func("task_read", None).expect("task_read");
    let ksyms = [
        KsymDef { name: "jiffies".into(), kind: KsymKind::Address },
        KsymDef { name: "task_read".into(), kind: KsymKind::Function(read.ty) },
    ];
    let input = ObjectBtfInput {
        types: &store,
        core: &core,
        maps: &maps,
        functions: &functions,
        sections: &sections,
        ksyms: &ksyms,
        copied: &Copied::default(),
    };
    let out = build(&input).expect("an object");
    assert_eq!(build(&input).expect("an object").btf, out.btf);
    (store, core, out)
}

#[test]
fn another_reader_reads_what_is_written() {
    let (_, _, out) = sample();
    let btf = btf_rs::Btf::from_bytes(&out.btf).expect("readable BTF");
    let types = btf.resolve_types_by_name("task").expect("struct task");
    let [Type::Struct(task)] = &types[..] else {
        panic!("one struct task expected: {types:?}");
    };
    assert_eq!(task.size(), 120);
    // Kept: state, comm, parent, the anonymous union, points, flags, callback.
    assert_eq!(task.members.len(), 7);
    let names: Vec<_> = task.members.iter().map(|m| btf.resolve_name(m).unwrap_or_default()).collect();
    assert_eq!(names, ["state", "comm", "parent", "", "points", "flags", "callback"]);
    let offsets: Vec<_> = task.members.iter().map(|m| m.bit_offset()).collect();
    assert_eq!(offsets, [0, 64, 192, 448, 512, 640, 832]);
    assert_eq!(out.maps, [(0, 32), (32, 32), (64, 16)]);
    let local = out.local_ids.values().next().expect("an id");
    let task_id = btf.resolve_ids_by_name("task").expect("ids")[0];
    assert_eq!(*local, task_id);
    assert!(task.get_type_id().is_none());
}

/// The words of one subsection of `.BTF.ext`: `(section, record)` pairs.
fn ext_records(ext: &[u8], subsection: usize) -> Vec<(u32, Vec<u32>)> {
    let word = |at: usize| u32::from_le_bytes(ext[at..at + 4].try_into().expect("4 bytes"));
    let start = 32 + word(8 + 8 * subsection) as usize;
    let end = start + word(12 + 8 * subsection) as usize;
    let words = word(start) as usize / 4;
    let mut at = start + 4;
    let mut records = Vec::new();
    while at < end {
        let (name, count) = (word(at), word(at + 4));
        at += 8;
        for _ in 0..count {
            records.push((name, (0..words).map(|i| word(at + 4 * i)).collect()));
            at += 4 * words;
        }
    }
    records
}

#[test]
fn ext_describes_instructions() {
    let (_, core, out) = sample();
    let btf = Btf::new(out.btf.clone(), None).expect("readable BTF");
    let functions = ext_records(&out.ext, 0);
    assert_eq!(functions.len(), 2);
    assert_eq!(btf.string(functions[1].0), ".text");
    let begin = btf.record(functions[0].1[1]);
    assert_eq!((begin.kind, btf.string(begin.name)), (Kind::Func, "begin"));
    let lines: Vec<_> =
        ext_records(&out.ext, 1).into_iter().map(|(_, r)| (r[0], btf.string(r[2]).to_owned(), r[3] >> 10)).collect();
    let line = |at, n| (at, format!("line {n}"), n);
    // The first record moves to the function's start, so there is room for the second.
    assert_eq!(lines, [line(0, 1), line(8, 2), line(24, 3), line(16, 9)]);
    let relocations = ext_records(&out.ext, 2);
    assert_eq!(relocations.len(), core.len());
    let access: Vec<_> = relocations.iter().map(|(_, r)| btf.string(r[2])).collect();
    let expected = ["0:3:0:0", "0:5:0", "0:1", "0:2", "0:6", "0:4:2:0", "0:0", "0", "0", "0:0"];
    assert_eq!(access, expected);
}

#[test]
fn bpftool_dumps_it() {
    let (_, _, out) = sample();
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), &out.btf).expect("written BTF");
    let mut command = Command::new("bpftool");
    let Ok(dump) = command.args(["btf", "dump", "file"]).arg(file.path()).output() else {
        return; // not installed
    };
    let text = String::from_utf8_lossy(&dump.stdout);
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    for wanted in ["'counts'", "STRUCT 'task' size=120 vlen=7", "DATASEC '.maps' size=80"] {
        assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
    }
}

/// An object's BTF with the types that `ids` of the fixture's types lead to.
fn copied(names: &[(&str, Kind)], relocated: bool) -> Btf {
    let blob = std::rc::Rc::new(Btf::new(KERNEL.to_vec(), None).expect("the fixture"));
    let id = |&(name, kind): &(&str, Kind)| blob.ids_by_name(name, kind.bit()).next().expect(name);
    let roots: Vec<CopiedType> = names.iter().map(|n| CopiedType { blob: 0, id: id(n) }).collect();
    let used = |root: &CopiedType| CopiedUse { offset: 0, root: *root, access: "0:1".into(), kind: 0 };
    let function = FunctionDef {
        name: "f".into(),
        section: ".text".into(),
        offset: 0,
        kind: FunctionKind::Static { params: 0 },
        lines: vec![],
        relocations: vec![],
        copied: if relocated { roots.iter().map(used).collect() } else { vec![] },
    };
    let ksym = |(i, root): (usize, &CopiedType)| KsymDef {
        name: format!("pointer_{i}"),
        kind: KsymKind::CopiedVariable(*root),
    };
    let ksyms: Vec<_> = if relocated { vec![] } else { roots.iter().enumerate().map(ksym).collect() };
    let (store, core) = (store(), CoreTable::new());
    let copied = Copied { blobs: vec![blob.clone()], ..Copied::default() };
    let input = ObjectBtfInput {
        types: &store,
        core: &core,
        maps: &[],
        functions: &[function],
        sections: &[],
        ksyms: &ksyms,
        copied: &copied,
    };
    let out = build(&input).expect("an object");
    let btf = Btf::new(out.btf, None).expect("readable BTF");
    if relocated {
        let access: Vec<_> = ext_records(&out.ext, 2).iter().map(|(_, r)| btf.string(r[2]).to_owned()).collect();
        assert_eq!(access, ["0:0"], "counts the members that are left");
    }
    btf
}

#[test]
fn copied_structs_are_whole_and_those_pointed_at_are_shells() {
    let btf = copied(&[("task", Kind::Struct)], false);
    let kernel = Btf::new(KERNEL.to_vec(), None).expect("the fixture");
    let find = |btf: &Btf, name: &str| btf.ids_by_name(name, Kind::Struct.bit()).next().expect("the struct");
    let (copy, original) = (find(&btf, "task"), find(&kernel, "task"));
    assert_eq!(btf.record(copy).vlen, kernel.record(original).vlen);
    assert_eq!(btf.record(copy).size_or_type, 120);
    // `parent` points back at the struct itself, by its new id.
    let members = |btf: &Btf, id: u32| -> Vec<(String, u32, u32)> {
        let record = btf.record(id);
        let member =
            |i: usize| (btf.string(record.word(3 * i)).to_owned(), record.word(3 * i + 1), record.word(3 * i + 2));
        (0..record.vlen).map(member).collect()
    };
    let (copied, original) = (members(&btf, copy), members(&kernel, original));
    for (new, old) in copied.iter().zip(&original) {
        assert_eq!((&new.0, new.2), (&old.0, old.2));
        assert_eq!(btf.record(new.1).kind, kernel.record(old.1).kind);
    }
    let parent = copied.iter().find(|m| m.0 == "parent").expect("parent").1;
    assert_eq!(btf.record(parent).size_or_type, copy);
}

#[test]
fn what_is_only_pointed_at_loses_its_members() {
    let btf = copied(&[("task_read", Kind::Func)], false);
    let task = btf.ids_by_name("task", Kind::Struct.bit()).next().expect("the struct");
    assert_eq!((btf.record(task).vlen, btf.record(task).size_or_type), (0, 120));
}

#[test]
fn accesses_keep_what_they_go_through() {
    let btf = copied(&[("task", Kind::Struct)], true);
    let task = btf.record(btf.ids_by_name("task", Kind::Struct.bit()).next().expect("the struct"));
    assert_eq!((task.vlen, task.size_or_type, btf.string(task.word(0))), (1, 120, "pid"));
}

/// Names, sizes and offsets of everything in the fixture, as assertions in C.
fn assertions(btf: &Btf) -> String {
    let mut out = String::from("#include \"vmlinux.h\"\n");
    for (name, id) in btf.named(Kind::Struct.bit() | Kind::Union.bit()) {
        let record = btf.record(id);
        let tag = if record.kind == Kind::Struct { "struct" } else { "union" };
        out += &format!("_Static_assert(sizeof({tag} {name}) == {}, \"\");\n", record.size_or_type);
        for i in 0..record.vlen {
            let (member, place) = (btf.string(record.word(3 * i)), record.word(3 * i + 2));
            if member.is_empty() || record.kflag && place >> 24 != 0 {
                continue;
            }
            let offset = (place & 0xff_ffff) / 8;
            out += &format!("_Static_assert(__builtin_offsetof({tag} {name}, {member}) == {offset}, \"\");\n");
        }
    }
    out
}

#[test]
fn a_header_lays_out_as_the_kernel_does() {
    let btf = Btf::new(KERNEL.to_vec(), None).expect("the fixture");
    let text = super::header::header(&btf);
    assert_eq!(text, super::header::header(&btf));
    for wanted in ["struct task {", "enum state {", "preserve_access_index"] {
        assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(dir.path().join("vmlinux.h"), &text).expect("the header");
    std::fs::write(dir.path().join("check.c"), assertions(&btf)).expect("the check");
    let mut clang = Command::new("clang");
    clang.current_dir(dir.path()).args([
        "-target",
        "bpf",
        "-fsyntax-only",
        "-DBPF_NO_PRESERVE_ACCESS_INDEX",
        "check.c",
    ]);
    let Ok(done) = clang.output() else {
        return; // not installed
    };
    assert!(done.status.success(), "{}\n{text}", String::from_utf8_lossy(&done.stderr));
}
