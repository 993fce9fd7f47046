//! Linking into a small static-pie that prints its payload.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::*;

/// A runtime of few bytes: writes its payload to stdout; status 3 when there is none.
const STUB: &str = r#"
__asm__(".pushsection .note.btc, \"a\", @note\n.balign 8\n.hidden slot\n"
        "slot: .long 4, 24, 1\n.asciz \"btc\"\n.quad 0, 0, 0\n.popsection");
extern const volatile struct { unsigned note[4]; unsigned long delta, len, reserved; } slot __attribute__((visibility("hidden")));
static char bss[100000];
static long call(long n, long a, long b, long c) {
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return r;
}
void _start(void) {
    for (unsigned i = 0; i < sizeof bss; i++)
        if (((volatile char *)bss)[i]) call(231, 4, 0, 0);
    call(1, 1, (long)&slot + slot.delta, slot.len);
    call(231, slot.len ? 0 : 3, 0, 0);
}
"#;

/// Builds the stub once; `None` where there is no C compiler.
fn stub() -> Option<&'static [u8]> {
    static STUB_BYTES: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    let build = || {
        let dir = tempfile::tempdir().unwrap();
        let (source, exe) = (dir.path().join("stub.c"), dir.path().join("stub"));
        fs::write(&source, STUB).unwrap();
        let flags = ["-O1", "-nostdlib", "-static-pie", "-fPIE", "-fno-stack-protector", "-Wl,--build-id=none", "-o"];
        let status = Command::new("cc").args(flags).arg(&exe).arg(&source).status().ok()?;
        assert!(status.success(), "the test's stub does not compile");
        Some(fs::read(exe).unwrap())
    };
    let bytes = STUB_BYTES.get_or_init(build).as_deref();
    if bytes.is_none() || cfg!(not(target_arch = "x86_64")) {
        eprintln!("SKIP: needs a C compiler for x86_64");
        return None;
    }
    bytes
}

/// Runs an executable. A child that another thread is starting may hold it open
/// for writing for a moment ("text file busy").
fn run(exe: &Path) -> (i32, Vec<u8>) {
    loop {
        match Command::new(exe).stderr(Stdio::inherit()).output() {
            Err(e) if e.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            out => {
                let out = out.unwrap();
                return (out.status.code().unwrap_or(-1), out.stdout);
            }
        }
    }
}

fn installed(dir: &tempfile::TempDir, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join("tracer");
    write_executable(&path, bytes).unwrap();
    path
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 % 251) as u8).collect()
}

#[test]
fn linked_program_sees_its_payload() {
    let Some(stub) = stub() else { return };
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(&installed(&dir, stub)), (3, vec![]));
    for len in [1, 8, 4095, 4096, 4097, 30_000, 1_000_003] {
        let payload = payload(len);
        let linked = link(stub, &payload).unwrap();
        assert_eq!(linked, link(stub, &payload).unwrap());
        assert_eq!(payload_of(&linked).unwrap(), Some(payload.as_slice()));
        assert_eq!(run(&installed(&dir, &linked)), (0, payload), "{len} bytes");
    }
}

#[test]
fn payload_survives_the_usual_tools() {
    let Some(stub) = stub() else { return };
    let linked = link(stub, &payload(30_000)).unwrap();
    for tool in [
        &["strip"] as &[&str],
        &["strip", "--strip-all", "-R", ".comment"],
        &["objcopy", "--strip-debug"],
        &["objcopy", "--add-section", ".signature=/proc/self/exe"],
        &["llvm-strip"],
        &["llvm-objcopy", "--strip-all"],
        &["eu-strip"],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = installed(&dir, &linked);
        match Command::new(tool[0]).args(&tool[1..]).arg(&path).status() {
            Err(_) => eprintln!("SKIP: no {}", tool[0]),
            Ok(status) => {
                assert!(status.success(), "{tool:?}");
                assert_eq!(run(&path), (0, payload(30_000)), "after {tool:?}");
            }
        }
    }
}

#[test]
fn what_is_no_runtime_is_refused() {
    let Some(stub) = stub() else { return };
    let error = |template: &[u8], payload: &[u8]| format!("{:#}", link(template, payload).unwrap_err());
    assert!(error(b"", b"x").contains("cannot be read"));
    assert!(error(&stub[..stub.len() / 2], b"x").contains("runtime executable"));
    assert!(error(stub, b"").contains("empty payload"));
    assert!(error(&link(stub, b"x").unwrap(), b"y").contains("carries a payload already"));
    let own = fs::read("/proc/self/exe").unwrap();
    assert!(error(&own, b"x").contains("no usable slot"));
    assert!(payload_of(&own).is_err());
    assert_eq!(payload_of(stub).unwrap(), None);
}

#[test]
fn damaged_files_do_not_panic() {
    let Some(stub) = stub() else { return };
    let linked = link(stub, &payload(100)).unwrap();
    for at in (0..linked.len()).filter(|at| *at < 1024 || *at > linked.len() - 1200) {
        for change in [0xff, 0x01, 0x80] {
            let mut damaged = linked.clone();
            damaged[at] ^= change;
            let _ = payload_of(&damaged);
        }
    }
    for at in (0..stub.len()).filter(|at| *at < 1024 || *at > stub.len() - 1200) {
        for change in [0xff, 0x01, 0x80] {
            let mut damaged = stub.to_vec();
            damaged[at] ^= change;
            let _ = link(&damaged, b"payload");
        }
    }
}

#[test]
fn output_replaces_files_and_keeps_links_and_devices() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("file"), dir.path().join("link"));
    fs::write(&file, "old").unwrap();
    symlink("file", &link).unwrap();
    let old = fs::metadata(&file).unwrap().ino();
    write_executable(&link, b"new").unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&file).unwrap(), b"new");
    assert_ne!(fs::metadata(&file).unwrap().ino(), old, "written into, not replaced");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o700, 0o700);

    write_executable(Path::new("/dev/null"), b"new").unwrap();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    let message = |path: &Path| format!("{:#}", write_executable(path, b"new").unwrap_err());
    assert!(message(dir.path()).contains("it is a directory"));
    assert!(message(&dir.path().join("missing/file")).contains("missing/file"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "a temporary file was left behind");
}
