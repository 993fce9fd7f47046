//! Reading and following an object that clang made; `tests/fixtures/c` has its source.
#![allow(clippy::unwrap_used)] // test code

use super::*;
use crate::btf::BtfSources;
use crate::ctypes::{CKind, TypeStore};

const OBJECT: &[u8] = include_bytes!("../../../tests/fixtures/c/functions.bpf.o");

fn unit() -> Unit {
    Unit::read("functions.bpf.o", OBJECT).unwrap()
}

fn index(unit: &Unit, name: &str) -> usize {
    unit.functions.iter().position(|f| f.name == name).unwrap()
}

#[test]
fn functions_and_what_they_use() {
    let unit = unit();
    let (shown, hidden) = (index(&unit, "shown"), index(&unit, "hidden"));
    // Calls of static functions in the same section have no relocation.
    assert_eq!(unit.functions[shown].uses, [(0, Use::Call(hidden))]);
    assert!(unit.functions[shown].global && !unit.functions[hidden].global);
    assert_eq!(unit.programs["program"], "kprobe/vfs_read");
    let word = &unit.functions[index(&unit, "word")];
    let Some((_, Use::Data { section, .. })) = word.uses.iter().find(|u| matches!(u.1, Use::Data { .. })) else {
        panic!("{:?}", word.uses)
    };
    assert_eq!(unit.sections[*section].addresses, ["words"]);
    assert_eq!(unit.functions[shown].lines.first().unwrap().file, "functions.bpf.c");
}

#[test]
fn only_what_is_called_is_linked() {
    let units = [unit()];
    let (shown, hidden) = (index(&units[0], "shown"), index(&units[0], "hidden"));
    let linkage = Linkage::new(&units, &[(0, shown)]).unwrap();
    let mut expected = [(0, shown), (0, hidden)];
    expected.sort();
    assert_eq!(linkage.placed(), expected);
    assert_eq!(linkage.position((0, shown)), linkage.root(0));
    let unlinked = index(&units[0], "unlinked");
    let error = Linkage::new(&units, &[(0, unlinked)]).err().unwrap();
    assert_eq!(error.message, "function `unlinked` uses `nowhere`, which is not defined");
}

#[test]
fn units_complete_each_other() {
    let mut other = unit();
    let add = index(&other, "add");
    other.globals.insert("nowhere".into(), Global::Function(add));
    let units = [unit(), other];
    let unlinked = index(&units[0], "unlinked");
    let linkage = Linkage::new(&units, &[(0, unlinked)]).unwrap();
    assert_eq!(linkage.placed(), [(0, unlinked), (1, add)]);
}

#[test]
fn signatures_in_the_script_s_types() {
    let store = TypeStore::new(BtfSources::none());
    let (functions, twice) = signatures(&[unit()], &store);
    assert!(twice.is_empty());
    let positive = &functions.callable["positive"].signature;
    let names: Vec<_> = positive.params.iter().map(|(n, ty)| (n.as_deref().unwrap(), store.name_of(*ty))).collect();
    assert_eq!(names[1..], [("text", "char *".to_string()), ("at", "struct point *".to_string())]);
    let point = store.find_struct("point").unwrap();
    assert!(!store.is_kernel(point));
    assert_eq!((store.size_of(point), store.field(point, "y").unwrap().bit_offset), (Some(16), 64));
    assert!(matches!(&store.get(point).kind, CKind::Composite(c) if c.members.len() == 2));
    assert_eq!(functions.others["hidden"], "`hidden` of functions.bpf.o is `static`");
}

#[test]
fn functions_of_two_files() {
    let store = TypeStore::new(BtfSources::none());
    let (_, twice) = signatures(&[unit(), unit()], &store);
    assert!(twice.iter().any(|t| t.name == "add" && t.units == (0, 1)));
    let mut weak = unit();
    weak.functions.iter_mut().for_each(|f| f.weak = true);
    let (functions, twice) = signatures(&[weak, unit()], &store);
    assert!(twice.is_empty());
    assert_eq!(functions.callable["add"].place.0, 1, "what is not weak wins");
}

#[test]
fn stack_is_counted_through_calls() {
    let mut unit = unit();
    let (shown, hidden) = (index(&unit, "shown"), index(&unit, "hidden"));
    // *(u64 *)(r10 - 40) = r1; r2 = r10; r2 += -100
    let code =
        [[0x7b, 0x1a, 0xd8, 0xff, 0, 0, 0, 0], [0xbf, 0xa2, 0, 0, 0, 0, 0, 0], [0x07, 2, 0, 0, 0x9c, 0xff, 0xff, 0xff]];
    unit.functions[hidden].code = code.concat();
    assert_eq!(calls::stack(&[unit], (0, shown), &mut Vec::new()), 32 + 128);
}

#[test]
fn damage_is_an_error() {
    assert!(Unit::read("x", b"no object").is_err());
    for cut in (0..OBJECT.len()).step_by(97) {
        let _ = Unit::read("x", &OBJECT[..cut]);
    }
    for at in (0..OBJECT.len()).step_by(13) {
        let mut bytes = OBJECT.to_vec();
        bytes[at] ^= 0x5a;
        let Ok(unit) = Unit::read("x", &bytes) else { continue };
        let store = TypeStore::new(BtfSources::none());
        let units = [unit];
        let (functions, _) = signatures(&units, &store);
        for f in functions.callable.values() {
            let _ = Linkage::new(&units, &[f.place]);
        }
    }
}
