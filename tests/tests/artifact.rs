//! What every built tracer must be: small, static, self-contained, the same
//! bytes wherever it was built, and built in no time.
#![allow(clippy::unwrap_used, missing_docs)] // test code

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use btc_tests::process::{self, quote};
use btc_tests::{is_root, root};
use goblin::elf::Elf;
use goblin::elf::program_header::PT_INTERP;

const MAX_SIZE: usize = 2 << 20;
/// Three times the budget: `make bench` measures, this notices when something is
/// wrong by an order of magnitude, also on a busy machine.
const MAX_BUILD: Duration = Duration::from_millis(300);

fn examples() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("examples")).unwrap();
    let mut scripts: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    scripts.retain(|p| p.extension().is_some_and(|e| e == "bt"));
    scripts.sort();
    assert!(scripts.len() >= 12);
    scripts
}

/// Builds `script` to `out`; returns how long it took.
fn build(script: &Path, out: &Path) -> Duration {
    let mut command = Command::new(btc_tests::btc().unwrap());
    let got = process::bounded(command.arg("build").arg(script).arg("-o").arg(out), 20).unwrap();
    assert_eq!(got.status, 0, "{}: {}", script.display(), got.err);
    got.wall
}

fn skip(what: &str, why: &str) {
    eprintln!("SKIPPED {what}: {why}");
}

#[test]
fn examples_are_small_and_static() {
    let dir = tempfile::tempdir().unwrap();
    for script in examples() {
        let out = dir.path().join("tracer");
        build(&script, &out);
        let bytes = fs::read(&out).unwrap();
        let name = script.display();
        assert!(bytes.len() < MAX_SIZE, "{name}: {} bytes", bytes.len());
        assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o111, 0o111, "{name} is not executable");
        let elf = Elf::parse(&bytes).unwrap();
        assert!(elf.program_headers.iter().all(|p| p.p_type != PT_INTERP), "{name} has an interpreter");
        assert!(elf.libraries.is_empty(), "{name} needs {:?}", elf.libraries);
    }
}

/// Sixty probes of mixed statements, `lines` lines in all.
fn long_script(lines: usize) -> String {
    let mut out = String::new();
    for probe in 1..=60 {
        out += &format!("interval:s:{probe} {{\n");
        for n in 1..lines / 60 - 1 {
            let a = n / 6 % 4;
            out += &match n % 6 {
                0 => format!("  @c{a}[comm, {n}] = count();\n"),
                1 => format!("  $v{n} = (uint32)pid + {n};\n"),
                2 => format!("  if (pid == {n}) {{ printf(\"%d %s\\n\", {n}, comm); }}\n"),
                3 => format!("  @m{a}[tid] = nsecs;\n"),
                4 => format!("  $w{n} = strncmp(comm, \"abc{n}\", 4) == 0 ? 1 : 2;\n"),
                _ => format!("  if (@m{a}[tid]) {{ @l = hist(nsecs - @m{a}[tid]); delete(@m{a}, tid); }}\n"),
            };
        }
        out += "}\n";
    }
    out
}

/// Seconds of CPU time that a build takes: other programs of the machine do not count.
fn cpu_time(script: &Path, out: &Path) -> f64 {
    let words = [btc_tests::btc().unwrap().as_path(), script, out].map(|p| quote(&p.to_string_lossy()));
    let got = process::shell(&format!("{} build {} -o {} && times", words[0], words[1], words[2]), 120).unwrap();
    assert_eq!(got.status, 0, "{}", got.err);
    // The last line is about the shell's children: `0m1.250000s 0m0.030000s`, user and system.
    let times = got.out.lines().last().unwrap().split_whitespace().next().unwrap();
    let (minutes, seconds) = times.trim_end_matches('s').split_once('m').unwrap();
    60.0 * minutes.parse::<f64>().unwrap() + seconds.parse::<f64>().unwrap()
}

/// Four times the lines may take four times as long; eight is for noise. `make
/// bench` measures.
#[test]
fn the_time_of_a_build_grows_with_the_script() {
    let dir = tempfile::tempdir().unwrap();
    let (script, out) = (dir.path().join("long.bt"), dir.path().join("tracer"));
    let best = |lines| {
        fs::write(&script, long_script(lines)).unwrap();
        (0..3).map(|_| cpu_time(&script, &out)).fold(f64::INFINITY, f64::min)
    };
    let (short, long) = (best(300), best(1200));
    assert!(long < 8.0 * short.max(0.02), "{short} s for 300 lines, {long} s for 1200");
}

/// The budget is one of release builds; the best of five on a busy machine.
#[test]
fn examples_build_fast() {
    if !btc_tests::btc().unwrap().ancestors().any(|p| p.ends_with("release")) {
        return skip("examples_build_fast", "not a release build of btc");
    }
    let dir = tempfile::tempdir().unwrap();
    for script in examples() {
        let best = (0..5).map(|_| build(&script, &dir.path().join("tracer"))).min().unwrap();
        assert!(best < MAX_BUILD, "{}: {best:?}", script.display());
    }
}

#[test]
fn every_example_has_a_header_and_a_case() {
    for script in examples() {
        let name = script.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&script).unwrap();
        for part in [format!(" * {name} - "), " * Usage: ".into(), " * Sample output:".into()] {
            assert!(text.contains(&part), "{name}: no {part:?}");
        }
        let case = root().join(format!("tests/cases/example/example-{name}.re"));
        assert!(case.is_file(), "{name} has no {}", case.display());
    }
}

#[test]
fn same_bytes_in_any_directory() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for script in examples() {
        let name = script.file_name().unwrap();
        let mut made = Vec::new();
        for dir in [one.path(), two.path()] {
            fs::copy(&script, dir.join(name)).unwrap();
            let mut command = Command::new(btc_tests::btc().unwrap());
            command.current_dir(dir).env("HOME", dir).env("LANG", "C").env("TZ", "Asia/Tokyo");
            let got = process::bounded(command.arg("build").arg(name).args(["-o", "tracer"]), 20).unwrap();
            assert_eq!(got.status, 0, "{}", got.err);
            made.push(fs::read(dir.join("tracer")).unwrap());
        }
        assert!(made[0] == made[1], "{}: two builds differ", script.display());
    }
}

/// The build must not look at the machine it runs on.
#[test]
fn same_bytes_without_sys_and_proc() {
    if !is_root() {
        return skip("same_bytes_without_sys_and_proc", "not root");
    }
    let dir = tempfile::tempdir().unwrap();
    let (seen, blind) = (dir.path().join("seen"), dir.path().join("blind"));
    for script in examples() {
        build(&script, &seen);
        let hide = "mount -t tmpfs none /sys && mount -t tmpfs none /boot 2>/dev/null; mount -t tmpfs none /lib/modules 2>/dev/null;";
        let btc = btc_tests::btc().unwrap();
        let words = [&btc, &script, &blind].map(|p| quote(&p.to_string_lossy()));
        let script = format!("{hide} exec {} build {} -o {}", words[0], words[1], words[2]);
        let got = process::run(Command::new("unshare").args(["-m", "sh", "-c", &script])).unwrap();
        assert_eq!(got.status, 0, "{}", got.err);
        assert!(fs::read(&seen).unwrap() == fs::read(&blind).unwrap(), "{}: /sys matters", words[1]);
    }
}

#[test]
fn help_and_about_need_no_privileges() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("tracer");
    build(&root().join("examples/vfsslower.bt"), &out);
    let help = process::bounded(Command::new(&out).arg("--help"), 10).unwrap();
    assert_eq!(help.status, 0, "{}", help.err);
    assert!(help.out.contains("MIN_MS"), "the header comment is not in: {}", help.out);
    let about = process::bounded(Command::new(&out).arg("--about"), 10).unwrap();
    assert_eq!(about.status, 0, "{}", about.err);
    assert!(about.out.contains("kprobe:vfs_read"), "{}", about.out);
    let source = process::bounded(Command::new(&out).arg("--source"), 10).unwrap();
    assert!(source.out.contains("vfsslower - show file reads"), "{}", source.out);
}

/// An empty root with only /proc and /sys: no libc, no files, no tools.
#[test]
fn runs_in_an_empty_chroot() {
    if !is_root() {
        return skip("runs_in_an_empty_chroot", "not root");
    }
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("empty.bt");
    fs::write(
        &script,
        "BEGIN { printf(\"%s %d\\n\", comm, curtask->tgid == pid); printf(\"%s\\n\", strftime(\"%Y\", nsecs)); }
tracepoint:sched:sched_switch { @switches = count(); }
interval:ms:500 { printf(\"%d\\n\", (int64)@switches > 0); exit(); }
END { clear(@switches); }\n",
    )
    .unwrap();
    let jail = dir.path().join("jail");
    fs::create_dir_all(jail.join("proc")).unwrap();
    fs::create_dir_all(jail.join("sys")).unwrap();
    build(&script, &jail.join("tracer"));
    let path = quote(&jail.to_string_lossy());
    let enter =
        format!("mount --rbind /proc {path}/proc && mount --rbind /sys {path}/sys && exec chroot {path} /tracer");
    let got = process::bounded(Command::new("unshare").args(["-m", "sh", "-c", &enter]), 20).unwrap();
    assert_eq!(got.status, 0, "{}", got.err);
    let text = btc_tests::verdict::normal(&got.out, false);
    assert!(text.starts_with("tracer 1\n20") && text.ends_with("\n1"), "{}{}", got.out, got.err);
}
