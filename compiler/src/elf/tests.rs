//! Objects read back by an independent reader (`object`'s read side).

use object::elf::{FileHeader64, R_BPF_64_32, R_BPF_64_64};
use object::read::elf::{FileHeader as _, Rel as _, SectionHeader as _, Sym as _};
use object::{Endianness, LittleEndian};

use super::*;

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
    Function { name: name.into(), role, code: [body, exit()].concat(), relocs }
}

fn reloc(slot: u32, target: Target) -> Reloc {
    Reloc { slot, target }
}

/// Two programs of one type, one of another, two subprograms, every kind of relocation.
pub(super) fn sample() -> ObjectInput {
    let tracepoint = Role::Program { section: "tracepoint" };
    let call = || insn(0x85, 0, 0, 0, 5);
    ObjectInput {
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
            function("helper", Role::Subprogram, vec![], vec![]),
            function("callback", Role::Subprogram, call(), vec![reloc(0, Target::Call(FunctionId(2)))]),
            function(
                "timer",
                Role::Program { section: "perf_event" },
                [load(1), call()].concat(),
                vec![reloc(0, Target::Extern(ExternId(0))), reloc(2, Target::Extern(ExternId(1)))],
            ),
        ],
        maps: ["at_a", "at_b"].map(|name| map(name, 1, 8, 8, 4096)).into(),
        rodata: (0..16).collect(),
        license: "GPL".into(),
        externs: [("jiffies", false), ("bpf_some_kfunc", true)].map(|(n, weak)| Extern { name: n.into(), weak }).into(),
    }
}

pub(super) fn map(symbol: &str, map_type: u32, key_size: u32, value_size: u32, max_entries: u32) -> Map {
    Map { symbol: symbol.into(), map_type, key_size, value_size, max_entries, flags: 0 }
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
    let input = sample();
    let bytes = write(&input, &Layout::new(&input), b"", b"").unwrap();
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
    let input = sample();
    let bytes = write(&input, &Layout::new(&input), b"", b"").unwrap();
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
            ("at_b", global, 40),
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
    let once = write(&sample(), &Layout::new(&sample()), b"btf", b"ext").unwrap();
    assert_eq!(once, write(&sample(), &Layout::new(&sample()), b"btf", b"ext").unwrap());
}

#[test]
fn nonsense_is_refused_by_name() {
    let refused = |change: fn(&mut ObjectInput)| {
        let mut input = sample();
        change(&mut input);
        format!("{:#}", write(&input, &Layout::new(&input), b"", b"").unwrap_err())
    };
    for (change, want) in [
        ((|i| i.functions[1].name = "first".into()) as fn(&mut ObjectInput), "`first` is defined twice"),
        (|i| i.maps[0].symbol = "a\0b".into(), "object symbol"),
        (|i| i.functions[0].code.truncate(9), "9 bytes of code"),
        (|i| i.functions[0].relocs[0].slot = 5, "opcode 0xb7"),
        (|i| i.functions[0].relocs[0].slot = 500, "no such instruction"),
        (|i| i.functions[0].relocs[0].target = Target::Map(MapIndex(9)), "no map 9"),
        (|i| i.functions[0].relocs[0].target = Target::Call(FunctionId(2)), "cannot be the operand"),
        (|i| i.functions[0].relocs[2].target = Target::Call(FunctionId(0)), "`first` is a program"),
        (|i| i.functions[0].relocs[1].target = Target::Rodata { offset: 16 }, "no byte 16"),
    ] {
        let message = refused(change);
        assert!(message.contains(want), "{message} lacks {want}");
    }
}
