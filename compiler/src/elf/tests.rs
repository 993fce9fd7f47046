//! Objects read back by an independent reader (`object`'s read side).

use object::elf::{FileHeader64, R_BPF_64_32, R_BPF_64_64};
use object::read::elf::{FileHeader as _, Rel as _, SectionHeader as _, Sym as _};
use object::{Endianness, LittleEndian};

use super::*;
use crate::btf::BtfSources;
use crate::btf::encode::{KsymKind, MapPart};

/// One instruction slot.
fn insn(opcode: u8, dst: u8, src: u8, offset: i16, imm: i32) -> Vec<u8> {
    let mut out = vec![opcode, dst | src << 4];
    out.extend(offset.to_le_bytes());
    out.extend(imm.to_le_bytes());
    out
}

/// `rN = ? ll`.
fn load(dst: u8) -> Vec<u8> {
    [insn(0x18, dst, 0, 0, 77), insn(0, 0, 0, 0, 77)].concat()
}

fn exit() -> Vec<u8> {
    [insn(0xb7, 0, 0, 0, 0), insn(0x95, 0, 0, 0, 0)].concat()
}

fn function(name: &str, role: Role, body: Vec<u8>, relocs: Vec<Reloc>) -> Function {
    Function {
        name: name.into(),
        role,
        code: [body, exit()].concat(),
        relocs,
        core: vec![],
        lines: vec![],
        copied: vec![],
    }
}

fn reloc(slot: u32, target: Target) -> Reloc {
    Reloc { slot, target }
}

/// Two programs of one type, one of another, two subprograms, every kind of relocation.
fn sample<'a>(types: &'a TypeStore, core: &'a CoreTable) -> ObjectInput<'a> {
    let tracepoint = Role::Program { section: "tracepoint" };
    let subprogram = |params| Role::Subprogram { params };
    let call = || insn(0x85, 0, 0, 0, 5);
    ObjectInput {
        types,
        core,
        functions: vec![
            function(
                "first",
                tracepoint.clone(),
                [load(1), load(2), call()].concat(),
                vec![
                    reloc(0, Target::Map(MapIndex(1))),
                    reloc(2, Target::Rodata { offset: 8 }),
                    reloc(4, Target::Call(FunctionId(2))),
                ],
            ),
            function("second", tracepoint, load(1), vec![reloc(0, Target::Callback(FunctionId(3)))]),
            function("helper", subprogram(0), vec![], vec![]),
            function("callback", subprogram(4), call(), vec![reloc(0, Target::Call(FunctionId(2)))]),
            function(
                "timer",
                Role::Program { section: "perf_event" },
                [load(1), call()].concat(),
                vec![reloc(0, Target::Extern(ExternId(0))), reloc(2, Target::Extern(ExternId(1)))],
            ),
        ],
        maps: ["at_a", "at_b"].map(|name| map(name, BPF_MAP_TYPE_HASH)).into(),
        rodata: (0..16).collect(),
        data: 0,
        variables: vec![],
        license: "GPL".into(),
        externs: [("jiffies", false), ("bpf_some_kfunc", true)].map(|(name, weak)| external(name, weak)).into(),
        copied: Default::default(),
        sections: vec![],
    }
}

const BPF_MAP_TYPE_HASH: u32 = 1;

fn map(name: &str, map_type: u32) -> MapDef {
    let part = MapPart::Int { size: 8, signed: false };
    MapDef { name: name.into(), map_type, key: part, value: part, max_entries: 4096, flags: 0 }
}

fn external(name: &str, weak: bool) -> Extern {
    Extern { symbol: KsymDef { name: name.into(), kind: KsymKind::Address }, weak }
}

/// The sample as changed by `change`, written.
fn written(change: impl FnOnce(&mut ObjectInput<'_>)) -> Result<Vec<u8>> {
    let (types, core) = (TypeStore::new(BtfSources::none()), CoreTable::new());
    let mut input = sample(&types, &core);
    change(&mut input);
    super::write(&input)
}

/// (section, offset, type, symbol or section that it names, slot's source register, slot's immediate).
type Seen = (String, u64, u32, String, u8, i32);

fn relocations(bytes: &[u8]) -> Vec<Seen> {
    let header = FileHeader64::<Endianness>::parse(bytes).unwrap();
    let e = header.endian().unwrap();
    let sections = header.sections(e, bytes).unwrap();
    let symbols = sections.symbols(e, bytes, object::elf::SHT_SYMTAB).unwrap();
    let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
    let mut out = Vec::new();
    for section in sections.iter() {
        let Some((rels, _)) = section.rel(e, bytes).unwrap() else { continue };
        let target = sections.section(section.info_link(e)).unwrap();
        let data = target.data(e, bytes).unwrap();
        for rel in rels {
            let symbol = symbols.symbol(object::SymbolIndex(rel.r_sym(e) as usize)).unwrap();
            let mut name = text(symbol.name(e, symbols.strings()).unwrap());
            if symbol.st_type() == object::elf::STT_SECTION {
                let index = symbols.symbol_section(e, symbol, object::SymbolIndex(0)).unwrap().unwrap();
                name = text(sections.section_name(e, sections.section(index).unwrap()).unwrap());
            }
            let at = rel.r_offset(e) as usize;
            let imm = i32::from_le_bytes(data[at + 4..at + 8].try_into().unwrap());
            let section = text(sections.section_name(e, target).unwrap());
            out.push((section, at as u64, rel.r_type(e).0, name, data[at + 1] >> 4, imm));
        }
    }
    out
}

#[test]
fn relocations_name_what_libbpf_expects() {
    let bytes = written(|_| ()).unwrap();
    let (r64, r32) = (R_BPF_64_64.0, R_BPF_64_32.0);
    let seen = relocations(&bytes);
    let seen: Vec<_> =
        seen.iter().map(|(s, at, t, n, src, imm)| (s.as_str(), *at, *t, n.as_str(), *src, *imm)).collect();
    assert_eq!(
        seen,
        [
            ("tracepoint", 0, r64, "at_b", 0, 0),
            ("tracepoint", 16, r64, ".rodata", 0, 8),
            ("tracepoint", 32, r32, "helper", 1, -1),
            ("tracepoint", 56, r64, ".text", 0, 16),
            (".text", 16, r32, "helper", 1, -1),
            ("perf_event", 0, r64, "jiffies", 0, 0),
            ("perf_event", 16, r32, "bpf_some_kfunc", 1, -1),
        ]
    );
}

#[test]
fn symbols_have_the_binding_libbpf_expects() {
    let bytes = written(|_| ()).unwrap();
    let header = FileHeader64::<LittleEndian>::parse(bytes.as_slice()).unwrap();
    let sections = header.sections(LittleEndian, bytes.as_slice()).unwrap();
    let symbols = sections.symbols(LittleEndian, bytes.as_slice(), object::elf::SHT_SYMTAB).unwrap();
    let mut seen = Vec::new();
    for s in symbols.iter().skip(1).filter(|s| s.st_type() != object::elf::STT_SECTION) {
        let name = std::str::from_utf8(s.name(LittleEndian, symbols.strings()).unwrap()).unwrap();
        assert_eq!(s.st_visibility(), object::elf::STV_DEFAULT, "{name} is hidden");
        seen.push((name, s.st_bind().0, s.st_value(LittleEndian)));
    }
    seen.sort();
    let (local, global, weak) = (0, 1, 2);
    assert_eq!(
        seen,
        [
            ("_license", global, 0),
            ("at_a", global, 0),
            ("at_b", global, 32),
            ("bpf_some_kfunc", weak, 0),
            ("callback", local, 16),
            ("first", global, 0),
            ("helper", local, 0),
            ("jiffies", global, 0),
            ("second", global, 56),
            ("timer", global, 0),
        ]
    );
}

#[test]
fn same_input_same_bytes() {
    let once = written(|_| ()).unwrap();
    assert_eq!(once, written(|_| ()).unwrap());
}

#[test]
fn nonsense_is_refused_by_name() {
    for (change, want) in [
        ((|i| i.functions[1].name = "first".into()) as fn(&mut ObjectInput<'_>), "`first` is defined twice"),
        (|i| i.maps[0].name = "a\0b".into(), "object symbol"),
        (|i| i.functions[0].code.truncate(9), "9 bytes of code"),
        (|i| i.functions[0].relocs[0].slot = 5, "opcode 0xb7"),
        (|i| i.functions[0].relocs[0].slot = 500, "no such instruction"),
        (|i| i.functions[0].relocs[0].target = Target::Map(MapIndex(9)), "no map 9"),
        (|i| i.functions[0].relocs[0].target = Target::Call(FunctionId(2)), "cannot be the operand"),
        (|i| i.functions[0].relocs[2].target = Target::Call(FunctionId(0)), "`first` is a program"),
        (|i| i.functions[0].relocs[1].target = Target::Rodata { offset: 16 }, "no byte 16"),
    ] {
        let message = format!("{:#}", written(change).unwrap_err());
        assert!(message.contains(want), "{message} lacks {want}");
    }
}
