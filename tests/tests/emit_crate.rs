//! `--emit crate`: the Cargo project is the same tracer as the executable.
//!
//! Compiling the runtime takes minutes, so this runs with BTC_TEST_CRATE=1 only;
//! `make test` sets it.
#![allow(clippy::unwrap_used, missing_docs)] // test code

use std::fs;
use std::path::Path;
use std::process::Command;

use btc_tests::process;
use btc_tests::verdict::normal;

const SCRIPT: &str = "BEGIN { printf(\"%s %d\\n\", str($1), $2); @a[1, \"x\"] = 2; @h = hist(5); }\n";

#[test]
fn a_crate_behaves_like_the_executable() {
    if std::env::var_os("BTC_TEST_CRATE").is_none() {
        eprintln!("SKIPPED a_crate_behaves_like_the_executable: BTC_TEST_CRATE is not set");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("tool.bt"), SCRIPT).unwrap();
    let btc = |args: &[&str]| {
        let mut command = Command::new(btc_tests::btc().unwrap());
        let got = process::bounded(command.current_dir(dir.path()).arg("build").arg("tool.bt").args(args), 60).unwrap();
        assert_eq!(got.status, 0, "{}", got.err);
    };
    btc(&["-o", "tool"]);
    btc(&["--emit", "crate", "-o", "project"]);
    // One target directory for all runs: the C libraries are built once.
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("emit-crate");
    let mut cargo = Command::new("cargo");
    cargo.current_dir(at("project")).env("CARGO_TARGET_DIR", &target).args(["build", "--release"]);
    let built = process::bounded(&cargo, 1200).unwrap();
    assert_eq!(built.status, 0, "{}", built.err);
    let by_cargo = executable(&target);
    for args in [&["--help"][..], &["--about"], &["word", "7"], &["-f", "json", "word", "7"]] {
        let [one, two] =
            [&at("tool"), &by_cargo].map(|exe| process::bounded(Command::new(exe).args(args), 20).unwrap());
        assert_eq!(one.status, two.status, "{args:?}: {} / {}", one.err, two.err);
        let name = by_cargo.file_name().unwrap().to_string_lossy();
        assert_eq!(normal(&one.out, false), normal(&two.out, false).replace(&*name, "tool"), "{args:?}");
    }
}

/// The one executable below `target`'s release directories.
fn executable(target: &Path) -> std::path::PathBuf {
    let mut found = Vec::new();
    for entry in fs::read_dir(target).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()) {
        for dir in [entry.clone(), entry.join("release")] {
            for file in fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap().path()) {
                let mode = fs::metadata(&file).map(|m| std::os::unix::fs::PermissionsExt::mode(&m.permissions()));
                if file.is_file() && file.extension().is_none() && mode.is_ok_and(|m| m & 0o111 != 0) {
                    found.push(file);
                }
            }
        }
    }
    found.sort_by_key(|f| fs::metadata(f).unwrap().modified().unwrap());
    found.pop().expect("cargo built no executable")
}
