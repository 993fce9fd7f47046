//! Puts an executable on disk.
//!
//! In: a path and bytes. Out: the file, complete and executable, or the old one
//! untouched: a tracer that is running is replaced, never written into.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Mode of an executable; the umask takes its share.
const MODE: u32 = 0o755;

/// Writes `bytes` to `path` as an executable.
pub fn write_executable(path: &Path, bytes: &[u8]) -> Result<()> {
    let target = follow(path);
    match fs::metadata(&target) {
        Ok(m) if m.is_dir() => bail!("cannot write {}: it is a directory", path.display()),
        // A device or a pipe (`-o /dev/stdout`) must not be renamed over.
        Ok(m) if !m.is_file() => OpenOptions::new().write(true).open(&target).and_then(|mut f| f.write_all(bytes)),
        _ => replace(&target, bytes),
    }
    .with_context(|| format!("cannot write {}", path.display()))
}

/// Where a symbolic link leads: the link stays, its target is replaced.
fn follow(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    let mut file =
        tempfile::Builder::new().prefix(".btc-").permissions(Permissions::from_mode(MODE)).tempfile_in(directory)?;
    File::write_all(file.as_file_mut(), bytes)?;
    file.persist(path)?;
    Ok(())
}
