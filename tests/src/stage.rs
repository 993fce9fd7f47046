//! Puts fixtures where the cases expect them: programs to be traced, headers.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;

use crate::case::STAGE;
use crate::root;

/// Programs built from `tests/fixtures`: source, compiler with flags, result.
const PROGRAMS: &[(&str, &[&str], &str)] = &[
    ("inlined.c", &["cc", "-O1"], "inlined"),
    ("target.c", &["cc", "-O0"], "target"),
    ("target.c", &["cc", "-O0", "-static", "-no-pie"], "target_static"),
    ("target.cpp", &["c++", "-O0"], "target_cpp"),
    ("workload.c", &["cc", "-O1"], "workload"),
];

/// Everything that is staged; the lock keeps other test programs out meanwhile.
#[derive(Debug)]
pub struct Stage {
    _lock: File,
}

/// Builds and copies what is missing or outdated, and waits while another test
/// program uses the stage.
pub fn prepare() -> Result<Stage, String> {
    let fix = Path::new(STAGE).join("fix");
    let make = |p: &Path| fs::create_dir_all(p).map_err(|e| format!("{}: {e}", p.display()));
    make(&fix)?;
    make(&Path::new(STAGE).join("work"))?;
    let lock = File::create(Path::new(STAGE).join("lock")).map_err(|e| format!("{STAGE}/lock: {e}"))?;
    // SAFETY: the descriptor is open for as long as `lock` lives.
    if unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) } != 0 {
        return Err(format!("{STAGE}/lock: {}", io::Error::last_os_error()));
    }
    let sources = root().join("tests/fixtures");
    for (source, compiler, name) in PROGRAMS {
        compile(&sources.join(source), compiler, &fix.join(name))?;
    }
    copy_text(&sources, &fix)?;
    Ok(Stage { _lock: lock })
}

fn compile(source: &Path, compiler: &[&str], out: &Path) -> Result<(), String> {
    let changed = |p: &Path| fs::metadata(p).and_then(|m| m.modified()).ok();
    if changed(out).is_some() && changed(out) >= changed(source) {
        return Ok(());
    }
    let mut command = Command::new(compiler[0]);
    command.args(&compiler[1..]).args(["-g", "-fno-omit-frame-pointer", "-pthread", "-o"]).arg(out).arg(source);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{}: {} ended with {status}", source.display(), compiler[0])),
        Err(e) => Err(format!("{}: {e} (a C and C++ compiler is needed)", compiler[0])),
    }
}

fn copy_text(from: &Path, to: &Path) -> Result<(), String> {
    let error = |e: io::Error| format!("{}: {e}", from.display());
    for entry in fs::read_dir(from).map_err(error)? {
        let path = entry.map_err(error)?.path();
        let target = to.join(path.file_name().expect("a directory entry has a name"));
        if path.is_dir() {
            fs::create_dir_all(&target).map_err(error)?;
            copy_text(&path, &target)?;
        } else {
            fs::copy(&path, &target).map_err(error)?;
        }
    }
    Ok(())
}
