//! The same script gives the same tracer, byte for byte, wherever and by whomever
//! it is built: the directory, the name of the directory, the environment, the
//! rights of new files and the number of the process must not get into it.
//!
//! Random programs and the examples are built twice.
#![allow(clippy::unwrap_used, missing_docs)] // test code

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use btc_tests::fuzz::{Dialect, generate};
use btc_tests::{process, root};

/// Random programs that are built.
const RANDOM: u64 = 40;

/// Examples that are built: what random programs lack is in them.
const EXAMPLES: usize = 15;

/// How a build differs from the other.
struct Place<'a> {
    dir: &'a Path,
    umask: libc::mode_t,
    env: &'a [(&'a str, &'a str)],
}

/// Builds `name` in its directory, by its bare name; the tracer's bytes.
fn build(place: &Place<'_>, name: &str, script: &str) -> Vec<u8> {
    fs::write(place.dir.join(name), script).unwrap();
    let mut command = Command::new(btc_tests::btc().unwrap());
    command.args(["build", "--no-warnings", "--unsafe", name, "-o", "tracer"]).current_dir(place.dir);
    command.env_clear().envs(place.env.iter().copied());
    let umask = place.umask;
    // SAFETY: umask has no preconditions and is async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            libc::umask(umask);
            Ok(())
        });
    }
    let got = process::run(&mut command).unwrap();
    assert_eq!(got.status, 0, "{name}: {}\n{script}", got.err);
    let bytes = fs::read(place.dir.join("tracer")).unwrap();
    fs::remove_file(place.dir.join("tracer")).unwrap();
    bytes
}

#[test]
fn a_tracer_depends_on_the_script_alone() {
    let (short, long) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let deep = long.path().join("a directory/with \u{e9} in its name/and more below");
    fs::create_dir_all(&deep).unwrap();
    let mut scripts: Vec<(String, String)> =
        (0..RANDOM).map(|seed| (format!("random{seed}.bt"), generate(seed, Dialect::Full, 3, 6).text())).collect();
    let mut examples: Vec<_> = fs::read_dir(root().join("examples")).unwrap().map(|e| e.unwrap().path()).collect();
    examples.retain(|path| path.extension().is_some_and(|e| e == "bt"));
    examples.sort();
    for path in examples.iter().take(EXAMPLES) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        scripts.push((name, fs::read_to_string(path).unwrap()));
    }
    let one = Place {
        dir: short.path(),
        umask: 0o022,
        env: &[("PATH", "/usr/bin:/bin"), ("HOME", "/root"), ("TZ", "UTC"), ("LANG", "C")],
    };
    let two = Place {
        dir: &deep,
        umask: 0o077,
        env: &[
            ("LC_ALL", "de_DE.UTF-8"),
            ("TZ", "Asia/Kathmandu"),
            ("HOME", "/nonexistent"),
            ("USER", "somebody"),
            ("PATH", "/bin:/sbin:/usr/bin"),
            ("SOURCE_DATE_EPOCH", "1"),
        ],
    };
    for (name, script) in &scripts {
        let (a, b) = (build(&one, name, script), build(&two, name, script));
        assert!(a == b, "{name}: two builds differ at byte {:?}", a.iter().zip(&b).position(|(x, y)| x != y));
    }
    println!("{} scripts, each built twice", scripts.len());
}
