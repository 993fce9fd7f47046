//! Hostile and broken scripts: refused with a message that points into the
//! script, in bounded time and memory, and never by a panic.
#![allow(clippy::unwrap_used, missing_docs)] // test code

use std::fs;
use std::process::Command;

use btc_tests::process::{self, Outcome};

/// Address space and time for any script, however bad.
const MEMORY: u64 = 2 << 30;
const SECONDS: u32 = 20;

fn build(script: &[u8]) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bad.bt"), script).unwrap();
    let mut command = Command::new("timeout");
    command.arg(SECONDS.to_string()).arg(btc_tests::btc().unwrap()).args(["build", "bad.bt", "-o", "tracer"]);
    command.current_dir(dir.path());
    process::limit_memory(&mut command, MEMORY);
    process::run(&mut command).unwrap()
}

/// Builds `script`, which must fail; `says` are words the message must hold.
fn refused(script: &[u8], says: &[&str]) {
    let got = build(script);
    let shown = String::from_utf8_lossy(&script[..script.len().min(80)]);
    assert_eq!(got.status, 1, "{shown}: {}", btc_tests::verdict::tail(&got.err));
    assert!(!got.err.contains("panicked"), "{shown}: {}", got.err);
    assert!(!got.err.contains("internal error"), "{shown}: {}", got.err);
    assert!(got.err.contains("bad.bt:"), "{shown}: no place in the message: {}", got.err);
    assert!(got.err.len() < 64 << 10, "{shown}: a message of {} bytes", got.err.len());
    for word in says {
        assert!(got.err.contains(word), "{shown}: {word:?} is not in: {}", got.err);
    }
}

#[test]
fn unknown_names() {
    refused(b"BEGIN { $x = (struct nosuchstruct *)0; print($x->a); }", &["nosuchstruct"]);
    refused(b"BEGIN { print(curtask->nosuchfield); }", &["nosuchfield"]);
    refused(b"tracepoint:syscalls:sys_enter_openat { print(args.nosucharg); }", &["nosucharg"]);
    refused(b"BEGIN { print(nosuchbuiltin); }", &["nosuchbuiltin"]);
    refused(b"BEGIN { nosuchfunction(1); }", &["nosuchfunction"]);
    refused(b"nosuchprobe:foo { print(1); }", &["nosuchprobe"]);
    refused(b"BEGIN { print($undefined); }", &["$undefined"]);
}

#[test]
fn wrong_types() {
    refused(b"BEGIN { @a = 1; @a = \"text\"; }", &["@a"]);
    refused(b"BEGIN { printf(\"%d\\n\", \"text\"); }", &[]);
    refused(b"BEGIN { printf(\"%s %s\\n\", comm); }", &[]);
    refused(b"BEGIN { @h = hist(\"text\"); }", &[]);
    refused(b"BEGIN { $x = count(); }", &[]);
    refused(b"BEGIN { print(comm + 1); }", &[]);
    refused(b"BEGIN { $x = 1; print($x->field); }", &[]);
    refused(b"BEGIN { print(1[0]); }", &[]);
}

#[test]
fn broken_syntax() {
    refused(b"BEGIN { printf(\"no end); }", &[]);
    refused(b"BEGIN { /* no end", &[]);
    refused(b"BEGIN { print(1);", &[]);
    refused(b"BEGIN print(1); }", &[]);
    refused(b"BEGIN { 1 + ; }", &[]);
    refused(b"BEGIN { print(99999999999999999999999); }", &[]);
    refused(b"struct s { int a", &[]);
    refused(b"macro m(", &[]);
}

#[test]
fn nothing_to_do() {
    for script in [&b""[..], b"\n", b"// only a comment\n", b"struct s { int a; };\n"] {
        let got = build(script);
        assert_eq!(got.status, 1, "{}", got.err);
        assert!(!got.err.contains("panicked"), "{}", got.err);
    }
}

#[test]
fn garbage() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    for size in [1, 16, 1000, 100_000] {
        refused(&(0..size).map(|_| random()).collect::<Vec<u8>>(), &[]);
    }
    refused(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0", &[]);
    refused(b"BEGIN { print(\"\xff\xfe\"); \xc3\x28 }", &[]);
    refused(b"BEGIN { print(1); }\0", &[]);
    refused(&[0; 65536], &[]);
}

#[test]
fn deep_nesting() {
    let deep = |open: &str, inner: &str, close: &str| {
        format!("BEGIN {{ {}{inner}{} }}", open.repeat(100_000), close.repeat(100_000)).into_bytes()
    };
    refused(&deep("(", "1", ")"), &[]);
    refused(&deep("{", "", "}"), &[]);
    refused(&deep("if (1) {", "", "}"), &[]);
    refused(&deep("-", "x", ""), &[]);
    refused(&deep("!", "x", ""), &[]);
    refused(&deep("((int8)", "1", ")"), &[]);
    refused(&deep("str(", "0", ")"), &[]);
    refused(&deep("1 ? 2 : ", "x", ""), &[]);
    refused(&deep("@a[", "x", "]"), &[]);
}

#[test]
fn long_chains_are_not_deep() {
    let got = build(format!("BEGIN {{ print(1{}); }}", " + 1".repeat(3000)).as_bytes());
    assert!(matches!(got.status, 0 | 1), "{}", got.err);
    assert!(!got.err.contains("panicked"), "{}", got.err);
}

#[test]
fn huge_scripts() {
    let line = b"tracepoint:syscalls:sys_enter_getppid { @a = count(); }\n";
    refused(&line.repeat((10 << 20) / line.len()), &[]);
    refused(&[b"BEGIN { print(\"".to_vec(), vec![b'x'; 10 << 20], b"\"); }".to_vec()].concat(), &[]);
    refused(&[b"BEGIN { $".to_vec(), vec![b'x'; 10 << 20], b" = ; }".to_vec()].concat(), &[]);
    refused(&vec![b'{'; 10 << 20], &[]);
}

#[test]
fn blow_ups_by_macros() {
    let mut script = String::from("macro m0(x) { x + x }\n");
    for i in 1..40 {
        script += &format!("macro m{i}(x) {{ m{}(x) + m{}(x) }}\n", i - 1, i - 1);
    }
    refused((script + "BEGIN { print(m39(1)); }").as_bytes(), &[]);
    refused(b"macro m(x) { m(x) }\nBEGIN { print(m(1)); }", &[]);
    let mut script = String::from("#define A0 1\n");
    for i in 1..40 {
        script += &format!("#define A{i} A{} + A{}\n", i - 1, i - 1);
    }
    refused((script + "BEGIN { print(A39 nonsense); }").as_bytes(), &[]);
    refused(b"BEGIN { unroll(1000000000) { @a++; } }", &[]);
    refused(b"struct s { int a[9223372036854775807]; };\nBEGIN { $x = *(struct s *)0; print($x); }", &[]);
}

#[test]
fn struct_that_holds_itself() {
    refused(
        b"struct recursive_one { struct recursive_one inner; };\nBEGIN { print(sizeof(struct recursive_one)); }",
        &[],
    );
}

#[test]
fn files_that_cannot_be_read() {
    let run = |args: &[&str]| process::bounded(Command::new(btc_tests::btc().unwrap()).args(args), SECONDS).unwrap();
    for path in ["/nonexistent/script.bt", "/"] {
        let got = run(&["build", path, "-o", "/tmp/never"]);
        assert_eq!(got.status, 1, "{}", got.err);
        assert!(got.err.contains(path), "{}", got.err);
    }
    let got = run(&["build", "-e", "BEGIN { print(1); }", "-o", "/nonexistent/dir/tracer"]);
    assert_eq!(got.status, 1, "{}", got.err);
    assert!(got.err.contains("/nonexistent/dir"), "{}", got.err);
}
