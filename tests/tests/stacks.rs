//! Stacks of programs whose call chains are known: C, C++ and Rust, plain, stripped
//! with separate debug files, linked in every way, with inlined functions.
//!
//! Input: `tests/fixtures/chain.*`. Each is built, traced at `leaf` by its address,
//! which stripping does not change, and the frames must be those of the source.
#![allow(clippy::unwrap_used, missing_docs)] // test code

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use btc_tests::process;
use btc_tests::{is_root, root};
use goblin::elf::Elf;

const C_FLAGS: &[&str] = &["-g", "-O1", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls"];
const C_FRAMES: &[&str] = &["leaf", "third", "second", "first", "main"];
const CPP_FRAMES: &[&str] = &[
    "leaf",
    "ns::Box<int>::get(int) const",
    "ns::A::operator()(std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> > const&, \
     std::vector<int, std::allocator<int> >&) const",
    "ns::A::run(int (*)(int), long double)",
    "main::{lambda(int)#1}::operator()(int) const",
    "int apply<main::{lambda(int)#1}>(main::{lambda(int)#1})",
    "main",
];

/// Can this test run here? Says why not.
fn possible(compiler: &str) -> bool {
    let there = Command::new(compiler).arg("--version").output().is_ok();
    if !is_root() || !there {
        eprintln!("SKIPPED stacks: not root, or no {compiler}");
    }
    is_root() && there
}

fn run(command: &mut Command) -> process::Outcome {
    let got = process::bounded(command, 60).unwrap();
    assert_eq!(got.status, 0, "{command:?}: {}", got.err);
    got
}

fn compile(compiler: &str, source: &str, flags: &[&str], out: &Path) {
    run(Command::new(compiler).args(flags).arg(root().join("tests/fixtures").join(source)).arg("-o").arg(out));
}

fn address(program: &Path, symbol: &str) -> u64 {
    let bytes = fs::read(program).unwrap();
    let elf = Elf::parse(&bytes).unwrap();
    elf.syms.iter().find(|s| elf.strtab.get_at(s.st_name) == Some(symbol)).unwrap().st_value
}

/// What a tracer of `program` prints at `leaf`, whose address is that in `plain`.
fn traced(plain: &Path, program: &Path, what: &str, flags: &[&str], env: &[(&str, &str)]) -> String {
    let tracer = program.with_extension("tracer");
    let script = format!("uprobe:{}:0x{:x} {{ {what} }}", program.display(), address(plain, "leaf"));
    run(Command::new(btc_tests::btc().unwrap()).args(["build", "-e", &script, "-o"]).arg(&tracer));
    let mut command = Command::new(&tracer);
    command.arg("-q").args(flags).arg("-c").arg(program).envs(env.iter().copied());
    run(&mut command).out
}

/// Names of the first frames, without what follows them.
fn names(out: &str, count: usize) -> Vec<String> {
    let lines = out.lines().map(str::trim).filter(|l| !l.is_empty());
    lines.take(count).map(|l| l.rsplit_once('+').map_or(l, |(name, _)| name).to_string()).collect()
}

fn strip(plain: &Path, out: &Path, more: &[&str]) {
    run(Command::new("objcopy").arg("--strip-all").args(more).arg(plain).arg(out));
}

fn debug_file(plain: &Path, out: &Path) {
    fs::create_dir_all(out.parent().unwrap()).unwrap();
    run(Command::new("objcopy").arg("--only-keep-debug").arg(plain).arg(out));
}

fn build_id(program: &Path) -> String {
    let bytes = fs::read(program).unwrap();
    let elf = Elf::parse(&bytes).unwrap();
    let note = elf.iter_note_sections(&bytes, Some(".note.gnu.build-id")).unwrap().next().unwrap().unwrap();
    note.desc.iter().map(|b| format!("{b:02x}")).collect()
}

const STACK: &str = "print(ustack(8)); exit();";

#[test]
fn every_way_to_link() {
    if !possible("cc") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (name, more) in [("pie", &[][..]), ("nopie", &["-no-pie"]), ("static", &["-static"]), ("spie", &["-static-pie"])]
    {
        let program = dir.path().join(name);
        compile("cc", "chain.c", &[C_FLAGS, more].concat(), &program);
        assert_eq!(names(&traced(&program, &program, STACK, &[], &[]), 5), C_FRAMES, "{name}");
    }
}

#[test]
fn separate_debug_files() {
    if !possible("cc") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { dir.path().join(name) };
    let plain = at("plain");
    compile("cc", "chain.c", &[C_FLAGS, &["-Wl,--build-id"]].concat(), &plain);
    // Found by the link's name: beside the program, in `.debug`.
    for (name, debug) in [("beside", "beside.debug"), ("below", ".debug/below.debug")] {
        debug_file(&plain, &at(debug));
        strip(&plain, &at(name), &[&format!("--add-gnu-debuglink={}", at(debug).display()), "--remove-section=.note.gnu.build-id"]);
        // The build id must be the same where there is one; here the program has none.
        let found = names(&traced(&plain, &at(name), STACK, &[], &[]), 5);
        assert_ne!(found, C_FRAMES, "{name}: a file of another build was taken");
        strip(&plain, &at(name), &[&format!("--add-gnu-debuglink={}", at(debug).display())]);
        assert_eq!(names(&traced(&plain, &at(name), STACK, &[], &[]), 5), C_FRAMES, "{name}");
    }
    // By the build id, in a directory of the user's.
    let id = build_id(&plain);
    debug_file(&plain, &at(&format!("store/.build-id/{}/{}.debug", &id[..2], &id[2..])));
    strip(&plain, &at("byid"), &[]);
    let store = at("store").display().to_string();
    assert_eq!(names(&traced(&plain, &at("byid"), STACK, &["--debuginfo", &store], &[]), 5), C_FRAMES);
    let without = traced(&plain, &at("byid"), STACK, &[], &[]);
    assert!(names(&without, 1)[0].starts_with("0x"), "{without}");
}

#[test]
fn inlined_functions_and_lines() {
    if !possible("cc") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("lines");
    compile("cc", "chain.c", C_FLAGS, &program);
    let env = [("BPFTRACE_SHOW_DEBUG_INFO", "1")];
    let out = traced(&program, &program, STACK, &[], &env);
    let lines: Vec<&str> = out.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let want = ["leaf+0@", "[inlined] inner@", "[inlined] outer@", "third+", "second+", "first+", "main+"];
    for (line, want) in lines.iter().zip(want) {
        assert!(line.starts_with(want) && line.contains("chain.c:"), "{line} is not {want}\n{out}");
    }
    let out = traced(&program, &program, "print(ustack(perf, 2)); exit();", &[], &env);
    assert!(out.contains(" inner (inlined)\n") && out.contains(" outer (inlined)\n") && !out.contains('@'), "{out}");
    // In JSON a stack is one text.
    let out = traced(&program, &program, "@[ustack(1), 2] = count(); exit();", &["-f", "json"], &env);
    assert!(out.contains("leaf+0@"), "{out}");
}

#[test]
fn names_of_cpp() {
    if !possible("c++") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    compile("c++", "chain.cpp", C_FLAGS, &plain);
    let stack = "print(ustack(12)); exit();";
    assert_eq!(names(&traced(&plain, &plain, stack, &[], &[]), 7), CPP_FRAMES);
    let out = traced(&plain, &plain, stack, &[], &[("BPFTRACE_CPP_DEMANGLE", "0")]);
    assert!(out.contains("_ZNK2ns3BoxIiE3getEi+"), "{out}");
    let (debug, stripped) = (dir.path().join("stripped.debug"), dir.path().join("stripped"));
    debug_file(&plain, &debug);
    strip(&plain, &stripped, &[&format!("--add-gnu-debuglink={}", debug.display())]);
    assert_eq!(names(&traced(&plain, &stripped, stack, &[], &[]), 7), CPP_FRAMES);
}

#[test]
fn names_of_rust() {
    if !possible("rustc") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (scheme, generic) in [("legacy", "chain::inner::Thing<T>::value"), ("v0", "<chain::inner::Thing<u32>>::value")] {
        let program = dir.path().join(scheme);
        let flags = ["-g", "-Copt-level=1", "-Cforce-frame-pointers=yes", "-Zunstable-options", "--crate-name=chain"];
        let scheme_flag = format!("-Csymbol-mangling-version={scheme}");
        let mut rustc = Command::new("rustc");
        // Choosing the older scheme takes an unstable option; this makes a stable compiler accept it.
        rustc.env("RUSTC_BOOTSTRAP", "1").args(flags).arg(scheme_flag);
        run(rustc.arg(root().join("tests/fixtures/chain.rs")).arg("-o").arg(&program));
        let found = names(&traced(&program, &program, "print(ustack(12)); exit();", &[], &[]), 5);
        let want = ["leaf", generic, "<chain::inner::Thing<u32> as chain::Go>::go", "chain::call", "chain::main"];
        assert_eq!(found, want, "{scheme}");
    }
}
