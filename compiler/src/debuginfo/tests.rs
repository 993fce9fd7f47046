//! Types, parameters and lines of a program that the C compiler makes here.

use super::*;
use crate::btf::BtfSources;
use crate::ctypes::CKind;
use std::process::Command;

const SOURCE: &str = "\
struct point { int x; short y : 5; struct point *next; };
typedef unsigned char byte;
struct wide { long a, b, c; };
enum color { RED, BLUE = 7 };
int flat(int a, const char *s, byte b, enum color c) { return a + b + c + *s; }
int deep(struct point *p, struct point v, double d, struct wide w, long *q) {
  return p->x + v.x + (int)d + (int)w.a + (int)*q;
}
struct wide big(int n) { struct wide w = { n, n, n }; return w; }
int main(void) { return 0; }
";

/// A binary built now, with these flags behind the common ones.
fn build(dir: &Path, flags: &[&str]) -> PathBuf {
    let (source, out) = (dir.join("sample.c"), dir.join("sample"));
    std::fs::write(&source, SOURCE).unwrap();
    let built = Command::new("cc").args(["-g", "-O0", "-o"]).arg(&out).arg(&source).args(flags).status().unwrap();
    assert!(built.success());
    out
}

#[test]
fn parameters_and_lines() {
    let dir = tempfile::tempdir().unwrap();
    for flags in [&[][..], &["-gdwarf-4"], &["-gdwarf-4", "-fdebug-types-section"], &["-gz"]] {
        let path = build(dir.path(), flags);
        let binary = Binary::open(&path, &[]).unwrap();
        let store = TypeStore::new(BtfSources::reference().unwrap());
        let flat = binary.parameters(&store, "flat").unwrap();
        assert_eq!(flat.iter().map(|p| p.name.as_deref().unwrap()).collect::<Vec<_>>(), ["a", "s", "b", "c"]);
        assert_eq!(flat[3].place, Place::Registers(vec![Word::General(3)]));
        assert_eq!(store.size_of(flat[2].ty), Some(1));
        let deep = binary.parameters(&store, "deep").unwrap();
        let CKind::Pointer(to) = store.get(deep[0].ty).kind else { panic!() };
        let y = store.field(to, "y").unwrap();
        assert_eq!((y.bit_offset, y.bit_width), (32, Some(5)));
        let CKind::Pointer(next) = store.get(store.field(to, "next").unwrap().ty).kind else { panic!() };
        assert_eq!(next, to);
        assert!(!store.is_kernel(to));
        assert_eq!(deep[1].place, Place::Registers(vec![Word::General(1), Word::General(2)]));
        assert_eq!(deep[2].place, Place::Registers(vec![Word::Vector]));
        assert_eq!(deep[3].place, Place::Stack(0));
        assert_eq!(deep[4].place, Place::Registers(vec![Word::General(3)]));
        let big = binary.parameters(&store, "big").unwrap();
        assert_eq!(big[0].place, Place::Registers(vec![Word::General(1)]));
        assert_eq!(
            binary.parameter_texts("deep"),
            ["struct point* p", "struct point v", "double d", "struct wide w", "long* q"]
                .map(|s| s.replace("long*", "long int*"))
        );
        assert_eq!(binary.parameter_texts("flat")[1], "const char* s");

        let at = binary.line("sample.c", 7).unwrap();
        assert_eq!(at.len(), 1, "{at:x?}");
        assert_eq!(binary.function_at(at[0]), Some("deep"));
        assert!(binary.line("sample.c", 2).unwrap_err().contains("next line with code is 5"));
        assert!(binary.line("other.c", 2).unwrap_err().contains("no source file other.c"));
        assert!(binary.parameters(&store, "flot").unwrap_err().contains("did you mean flat?"));
    }
}

/// Everything is found in the parts, wherever they are; without them the message names one.
#[test]
fn split_debug_information() {
    let dir = tempfile::tempdir().unwrap();
    for version in ["-gdwarf-5", "-gdwarf-4"] {
        for more in [&[][..], &["-fdebug-types-section"]] {
            let path = build(dir.path(), &[&["-gsplit-dwarf", version], more].concat());
            let part = std::fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().path());
            let part = part.into_iter().find(|p| p.extension().is_some_and(|e| e == "dwo")).unwrap();
            let check = |dirs: &[PathBuf]| {
                let binary = Binary::open(&path, dirs).unwrap();
                let store = TypeStore::new(BtfSources::reference().unwrap());
                let deep = binary.parameters(&store, "deep")?;
                let CKind::Pointer(to) = store.get(deep[0].ty).kind else { panic!() };
                assert_eq!(store.field(to, "y").unwrap().bit_width, Some(5));
                let at = binary.line("sample.c", 7).unwrap();
                assert_eq!(binary.function_at(at[0]), Some("deep"));
                Ok::<_, String>(())
            };
            check(&[]).unwrap();
            let elsewhere = dir.path().join("elsewhere");
            std::fs::create_dir_all(&elsewhere).unwrap();
            let moved = elsewhere.join(part.file_name().unwrap());
            std::fs::rename(&part, &moved).unwrap();
            assert!(check(&[]).unwrap_err().contains(".dwo"));
            check(std::slice::from_ref(&elsewhere)).unwrap();
            std::fs::remove_file(moved).unwrap();
        }
    }
}

#[test]
fn types_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let binary = Binary::open(&build(dir.path(), &[]), &[]).unwrap();
    let store = TypeStore::new(BtfSources::reference().unwrap());
    let size = |tag, name| store.size_of(binary.named_type(&store, tag, name)?);
    assert_eq!(size(Some(TagKind::Struct), "point"), Some(16));
    assert_eq!(size(Some(TagKind::Enum), "color"), Some(4));
    assert_eq!(size(None, "byte"), Some(1));
    assert_eq!(size(Some(TagKind::Union), "point"), None);
    assert_eq!(size(None, "point"), None, "C writes the tag");
}

#[test]
fn separate_debug_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = build(dir.path(), &["-Wl,--build-id"]);
    let with = Binary::open(&path, &[]).unwrap().id().clone();
    let debug = dir.path().join("sample.debug");
    let run = |args: &[&str]| assert!(Command::new("objcopy").args(args).status().unwrap().success());
    let (path_text, debug_text) = (path.to_str().unwrap(), debug.to_str().unwrap());
    run(&["--only-keep-debug", path_text, debug_text]);
    run(&["--strip-debug", path_text]);
    let elsewhere = dir.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let moved = elsewhere.join("sample.debug");
    std::fs::rename(&debug, &moved).unwrap();
    assert!(Binary::open(&path, &[]).err().unwrap().contains("no debug information"));
    assert_eq!(*Binary::open(&path, std::slice::from_ref(&elsewhere)).unwrap().id(), with);
    std::fs::rename(&moved, &debug).unwrap();
    run(&[&format!("--add-gnu-debuglink={debug_text}"), path_text]);
    assert_eq!(*Binary::open(&path, &[]).unwrap().id(), with);
}
