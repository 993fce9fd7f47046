//! Compiles imported C files with the clang of the build host.
//!
//! In: a C file, the search path. Out: a BPF object with BTF, or why there is none.
//! Invariants: nothing of the host gets into the object but what the file includes:
//! clang runs in the file's directory and is given its bare name, so that `__FILE__`
//! holds no path, and prefixes of directories of the search path are taken off.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the clang to use.
pub(super) const VARIABLE: &str = "BTC_CLANG";

/// Linux 5.10 knows this instruction set; later ones it does not.
const CPU: &str = "-mcpu=v3";

/// Where a multiarch system has `asm/types.h` and its like, which clang does not look
/// into for BPF.
const MULTIARCH: &str = "/usr/include/x86_64-linux-gnu";

/// Why there is no object.
pub(super) enum Error {
    /// There is no clang; this was called.
    Missing(String),
    /// clang refuses the file, and says why.
    Refused(String),
    /// Something else failed.
    Other(String),
}

/// What clang made, and what it warns of.
pub(super) struct Made {
    pub object: Vec<u8>,
    pub warnings: String,
}

/// Where C files find headers.
pub(super) struct Search<'a> {
    /// The text of `vmlinux.h`, for a file that includes it and has none of its own.
    pub kernel: &'a dyn Fn() -> Option<String>,
    /// `-I`.
    pub directories: &'a [PathBuf],
    /// `--include`.
    pub headers: &'a [String],
}

/// Compiles a file, whose path is absolute.
pub(super) fn compile(path: &Path, search: &Search<'_>) -> Result<Made, Error> {
    let other = |e: std::io::Error| Error::Other(e.to_string());
    let aid = tempfile::tempdir().map_err(other)?;
    write_aid(aid.path(), search.headers).map_err(other)?;
    let output = aid.path().join("object");
    let clang = clang();
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::Other("it has no name".into()));
    };
    let mut command = Command::new(&clang);
    command.current_dir(directory).args(arguments(aid.path(), search)).arg("-o").arg(&output).arg(name);
    let mut run = || {
        command.output().map_err(|e| match e.kind() {
            ErrorKind::NotFound | ErrorKind::PermissionDenied => Error::Missing(clang.to_string_lossy().into_owned()),
            _ => other(e),
        })
    };
    let mut ran = run()?;
    // All of a kernel's types are millions of characters: made when they are missed.
    if !ran.status.success()
        && String::from_utf8_lossy(&ran.stderr).contains("'vmlinux.h' file not found")
        && let Some(text) = (search.kernel)()
    {
        std::fs::write(aid.path().join("vmlinux.h"), text).map_err(other)?;
        ran = run()?;
    }
    let said = String::from_utf8_lossy(&ran.stderr).trim_end().replace(&format!("{}/", aid.path().display()), "");
    if !ran.status.success() {
        return Err(Error::Refused(if said.is_empty() { ran.status.to_string() } else { said }));
    }
    let object = std::fs::read(&output).map_err(|e| Error::Other(format!("clang wrote no object: {e}")))?;
    Ok(Made { object, warnings: said })
}

/// The program to run. A path is made absolute, because clang runs elsewhere.
fn clang() -> PathBuf {
    let named = std::env::var_os(VARIABLE).filter(|v| !v.is_empty());
    let path = PathBuf::from(named.unwrap_or_else(|| "clang".into()));
    if path.components().count() > 1 { absolute(&path) } else { path }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

fn arguments(aid: &Path, search: &Search<'_>) -> Vec<OsString> {
    let mut out: Vec<OsString> = ["-target", "bpf", CPU, "-O2", "-g", "-c", "-x", "c"].map(OsString::from).into();
    // What bpf_tracing.h wants to know.
    out.push("-D__TARGET_ARCH_x86".into());
    // What the kernel's verifier cannot follow, or BPF does not have.
    out.extend(["-fno-stack-protector", "-fno-jump-tables", "-fno-color-diagnostics"].map(OsString::from));
    for directory in search.directories {
        let directory = absolute(directory);
        out.extend(["-I".into(), directory.clone().into()]);
        let mut map = OsString::from("-fmacro-prefix-map=");
        map.push(directory);
        map.push("/=");
        out.push(map);
    }
    for directory in [aid, Path::new(MULTIARCH)] {
        out.extend(["-idirafter".into(), directory.into()]);
    }
    if !search.headers.is_empty() {
        out.extend(["-include".into(), aid.join(GIVEN).into()]);
    }
    out
}

/// The header that includes those of `--include`.
const GIVEN: &str = "btc-given.h";

/// Headers of our own: those of `--include`, which may also name headers of the kernel
/// that only the script's own reader knows, and one that glibc's headers ask for, since
/// for BPF they take the machine for one of 32 bits.
fn write_aid(directory: &Path, headers: &[String]) -> std::io::Result<()> {
    std::fs::create_dir(directory.join("gnu"))?;
    std::fs::write(directory.join("gnu/stubs-32.h"), "")?;
    let lines = headers.iter().map(|h| format!("#if __has_include(<{h}>)\n#include <{h}>\n#endif\n"));
    std::fs::write(directory.join(GIVEN), lines.collect::<String>())
}
