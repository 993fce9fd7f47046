//! A tracer as a service: told when it is ready, asked by signals, restrained in what
//! it may do, leaving nothing behind, counting what it loses.
#![allow(clippy::unwrap_used, missing_docs)] // test code

use std::fs;
use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use btc_tests::is_root;
use btc_tests::process;

fn possible() -> bool {
    if !is_root() {
        eprintln!("SKIPPED services: not root");
    }
    is_root()
}

/// Builds a script into `dir`, where everybody may run it.
fn build(dir: &Path, script: &str) -> PathBuf {
    let out = dir.join("tracer");
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(btc_tests::btc().unwrap());
    let got = process::bounded(command.args(["build", "-e", script, "-o"]).arg(&out), 60).unwrap();
    assert_eq!(got.status, 0, "{}", got.err);
    out
}

fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: takes integers; the child has not been waited for.
    unsafe { libc::kill(child.id() as i32, signal) };
}

/// Output, messages and status at the end, which must come within ten seconds.
fn end(mut child: Child) -> (String, String, Option<i32>) {
    let limit = Instant::now() + Duration::from_secs(10);
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status.code(),
            None if Instant::now() > limit => {
                child.kill().unwrap();
                panic!("the tracer does not end");
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    (out, err, status)
}

fn next(socket: &UnixDatagram) -> String {
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut buffer = [0; 256];
    let count = socket.recv(&mut buffer).expect("the tracer says that it is ready");
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

#[test]
fn tells_the_service_manager() {
    if !possible() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tracer = build(dir.path(), "interval:1s { @ = count(); }");
    let path = dir.path().join("notify");
    let hidden = format!("btc-test-{}", std::process::id());
    let sockets = [
        (path.display().to_string(), UnixDatagram::bind(&path).unwrap()),
        (format!("@{hidden}"), UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&hidden).unwrap()).unwrap()),
    ];
    for (name, socket) in sockets {
        let child = start(Command::new(&tracer).env("NOTIFY_SOCKET", &name));
        assert_eq!(next(&socket), "READY=1");
        signal(&child, libc::SIGTERM);
        assert_eq!(next(&socket), "STOPPING=1");
        assert_eq!(end(child).2, Some(0));
    }
}

#[test]
fn prints_maps_when_asked_and_goes_on() {
    if !possible() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tracer = build(dir.path(), "BEGIN { @a = 1; } self:signal:SIGUSR2 { @a = 2; }");
    let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    let child = start(Command::new(&tracer).env("NOTIFY_SOCKET", dir.path().join("notify")));
    next(&socket);
    for s in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGINT] {
        signal(&child, s);
        std::thread::sleep(Duration::from_millis(300));
    }
    let (out, err, status) = end(child);
    assert_eq!((out.matches("@a: 1").count(), out.matches("@a: 2").count(), status), (1, 1, Some(0)), "{out}{err}");
}

#[test]
fn hangup_opens_the_output_anew() {
    if !possible() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tracer = build(dir.path(), r#"interval:ms:50 { printf("tick\n"); }"#);
    let (log, old) = (dir.path().join("log"), dir.path().join("log.1"));
    let child = start(Command::new(&tracer).arg("-o").arg(&log));
    std::thread::sleep(Duration::from_millis(700));
    fs::rename(&log, &old).unwrap();
    signal(&child, libc::SIGHUP);
    std::thread::sleep(Duration::from_millis(700));
    signal(&child, libc::SIGTERM);
    assert_eq!(end(child).2, Some(0));
    for file in [log, old] {
        assert!(fs::read_to_string(&file).unwrap().starts_with("tick\n"), "{}", file.display());
    }
}

#[test]
fn ends_with_its_reader() {
    if !possible() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tracer = build(dir.path(), r#"interval:ms:10 { printf("tick\n"); }"#);
    let mut child = start(&mut Command::new(&tracer));
    let mut first = [0; 5];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    drop(child.stdout.replace(fs::File::open("/dev/null").unwrap().into_stdout()));
    let (_, err, status) = end(child);
    assert_eq!(status, Some(0), "{err}");
    assert!(!err.contains("ERROR"), "{err}");
}

/// A pipe in place of another one: the reading end of the old one is closed.
trait IntoStdout {
    fn into_stdout(self) -> std::process::ChildStdout;
}

impl IntoStdout for fs::File {
    fn into_stdout(self) -> std::process::ChildStdout {
        std::process::ChildStdout::from(std::os::fd::OwnedFd::from(self))
    }
}

#[test]
fn counts_what_is_lost() {
    if !possible() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let script = r#"BEGIN { for $i : 0..3000 { printf("%d\n", $i); } @[1] = 1; @[2] = 1; @[3] = 1; }"#;
    let tracer = build(dir.path(), script);
    let command = |more: &[&str]| {
        let mut c = Command::new(&tracer);
        c.args(["--map", "@=2"]).args(more).env("BPFTRACE_PERF_RB_PAGES", "1");
        c
    };
    let (out, err, status) = end(start(&mut command(&["-v"])));
    let printed = out.lines().filter(|l| l.parse::<u32>().is_ok()).count();
    assert_eq!(status, Some(0));
    assert!(printed < 3000);
    assert!(err.contains(&format!("Lost {} events\n", 3000 - printed)), "{printed} printed: {err}");
    assert!(err.contains(&format!("Total lost event count: {}\n", 3000 - printed)), "{err}");
    assert!(err.contains("Map full; can't update element: 1 updates were refused"), "{err}");
    let counts =
        format!("{printed} events, {} lost; 0 probe executions skipped; 1 map updates refused\n", 3000 - printed);
    assert!(err.contains(&counts), "{counts} is missing: {err}");
    assert!(err.contains("map @: 2 of 2 entries\n"), "{err}");
    let (out, err, _) = end(start(&mut command(&["-f", "json"])));
    assert!(out.contains(r#"{"type": "lost_events", "count": "#), "{out}");
    assert!(out.contains(r#"{"type": "map_full", "count": 1, "data": {"updates": 1}}"#), "{out}{err}");
}

/// `CapEff` of the tracer, which its child asks for.
fn capabilities(tracer: &Path, more: &[&str]) -> u64 {
    let mut command = Command::new(tracer);
    command.args(["-q", "-c", "sh -c 'grep CapEff /proc/$PPID/status'"]).args(more);
    let (out, err, _) = end(start(&mut command));
    let line = out.lines().find_map(|l| l.strip_prefix("CapEff:")).unwrap_or_else(|| panic!("{out}{err}"));
    u64::from_str_radix(line.trim(), 16).unwrap()
}

#[test]
fn gives_up_what_it_does_not_need() {
    if !possible() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // Bits of uapi/linux/capability.h.
    let (dac_override, sys_admin, bpf) = (1 << 1, 1 << 21, 1 << 39);
    let plain = build(dir.path(), "interval:1s { @ = count(); }");
    // The child may run before the tracer comes to it.
    let left = (0..20).map(|_| capabilities(&plain, &[])).find(|left| left & sys_admin == 0);
    assert!(left.is_some_and(|left| left & (dac_override | sys_admin) == 0 && left & bpf != 0), "{left:x?}");
    let shell = tempfile::tempdir().unwrap();
    let mut command = Command::new(btc_tests::btc().unwrap());
    let out = shell.path().join("tracer");
    let script = r#"interval:1h { system("true"); }"#;
    let got = process::bounded(command.args(["build", "--unsafe", "-e", script, "-o"]).arg(&out), 60).unwrap();
    assert_eq!(got.status, 0, "{}", got.err);
    assert_ne!(capabilities(&out, &[]) & sys_admin, 0, "commands of the script can do what the user can");
}

#[test]
fn runs_without_root() {
    if !possible() || Command::new("setpriv").arg("--version").output().is_err() {
        eprintln!("SKIPPED running without root: no setpriv");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let run = |tracer: &Path, capabilities: &str, more: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(format!("--inh-caps={capabilities}")).arg(format!("--ambient-caps={capabilities}"));
        end(start(command.arg(tracer).args(more)))
    };
    let script = "BEGIN { @a = 1; } rawtracepoint:sys_enter { @n = count(); } interval:ms:200 { exit(); }";
    let tracer = build(dir.path(), script);
    let (out, err, status) = run(&tracer, "+bpf,+perfmon", &[]);
    assert!(status == Some(0) && out.contains("@a: 1") && out.contains("@n: "), "{out}{err}");
    let (_, err, status) = run(&tracer, "-all", &[]);
    assert!(status == Some(1) && err.contains("CAP_BPF, CAP_PERFMON missing"), "{err}");
    let tracer = build(dir.path(), "tracepoint:syscalls:sys_enter_read { @ = count(); } interval:ms:200 { exit(); }");
    let (_, err, _) = run(&tracer, "+bpf,+perfmon", &[]);
    assert!(err.contains("CAP_DAC_READ_SEARCH"), "{err}");
    let (out, err, _) = run(&tracer, "+bpf,+perfmon,+dac_read_search", &[]);
    assert!(out.contains("@: "), "{out}{err}");
}

#[test]
fn writes_no_file_and_leaves_nothing() {
    if !possible() {
        return;
    }
    let (dir, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let name = format!("@gone{}", std::process::id() % 10_000);
    let script = format!(r#"BEGIN {{ {name}[1] = 1; }} interval:ms:100 {{ printf("x\n"); {name}[2] = 1; }}"#);
    let tracer = build(dir.path(), &script);
    let child = start(Command::new(&tracer).current_dir(empty.path()).env("TMPDIR", empty.path()));
    std::thread::sleep(Duration::from_millis(500));
    signal(&child, libc::SIGTERM);
    assert_eq!(end(child).2, Some(0));
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
    // Maps go when the last program is detached, which the kernel does on its own.
    let Ok(before) = Command::new("bpftool").args(["map", "list"]).output() else { return };
    assert!(before.status.success());
    let gone = (0..50).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        let list = Command::new("bpftool").args(["map", "list"]).output().unwrap();
        !String::from_utf8_lossy(&list.stdout).contains(&format!("at_{}", &name[1..]))
    });
    assert!(gone, "a map is still there");
}
