//! Scripts that must be refused, and the exact message each must get.
//!
//! `tests/ui/NAME.bt` is given to `btc build`; standard error must be
//! `tests/ui/NAME.stderr` and the exit status 1. BTC_BLESS=1 records the
//! messages; review that diff as code.
#![allow(clippy::unwrap_used)] // test code

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use btc_tests::{process, root};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let dir = root().join("tests/ui");
    let mut scripts: Vec<PathBuf> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    scripts.retain(|p| p.extension().is_some_and(|e| e == "bt"));
    scripts.sort();
    let btc = match btc_tests::btc() {
        Ok(btc) => btc,
        Err(why) => {
            eprintln!("ui: {why}");
            return ExitCode::FAILURE;
        }
    };
    let trial = |script: PathBuf| {
        let (name, btc) = (script.file_stem().unwrap().to_string_lossy().into_owned(), btc.clone());
        Trial::test(name, move || check(&btc, &script).map_err(Failed::from))
    };
    libtest_mimic::run(&args, scripts.into_iter().map(trial).collect()).exit_code()
}

fn check(btc: &Path, script: &Path) -> Result<(), String> {
    let out = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mut command = Command::new(btc);
    // The folder is the working directory, so that messages hold no path of this machine.
    command.current_dir(script.parent().unwrap()).arg("build").arg(script.file_name().unwrap());
    command.arg("-o").arg(out.path().join("tracer"));
    let got = process::bounded(&command, 20).map_err(|e| e.to_string())?;
    if got.status != 1 {
        return Err(format!("exit status {}, wanted 1\n--- stderr\n{}", got.status, got.err));
    }
    let expected = script.with_extension("stderr");
    if std::env::var_os("BTC_BLESS").is_some() {
        return fs::write(&expected, &got.err).map_err(|e| e.to_string());
    }
    let want = fs::read_to_string(&expected).unwrap_or_default();
    if want == got.err { Ok(()) } else { Err(format!("--- want\n{want}\n--- got\n{}", got.err)) }
}
