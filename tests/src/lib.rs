//! What the test programs under `tests/tests/` share.
//!
//! Input: the repository's `tests/` folder and a built `btc`. Output: verdicts.
//! But for `mutants`, the tests drive `btc` and the tracers from outside, as processes, and link
//! none of the compiler.
#![allow(clippy::unwrap_used)] // all of this crate is test code

pub mod case;
pub mod expected;
pub mod fuzz;
pub mod matrix;
pub mod process;
pub mod script;
pub mod stage;
pub mod table;
pub mod verdict;

use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Whether this process may load BPF programs.
pub fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// The `btc` under test: `$BTC`, or the one in the target directory this test
/// was built into, or a release build beside it.
pub fn btc() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("BTC") {
        return std::fs::canonicalize(&path).map_err(|e| format!("BTC={}: {e}", path.display()));
    }
    let exe = std::env::current_exe().map_err(|e| e.to_string())?;
    // Tests lie in `deps` of the directory in which programs lie.
    let mut above = exe.ancestors().skip(1).skip_while(|dir| dir.ends_with("deps"));
    let profile = above.next().ok_or("the test is not in a target directory")?;
    let target = profile.parent().ok_or("the test is not in a target directory")?;
    let tried = [profile.join("btc"), target.join("release/btc")];
    tried.iter().find(|p| p.is_file()).cloned().ok_or_else(|| {
        format!("no btc to test: build it first, or set BTC (tried {} and {})", tried[0].display(), tried[1].display())
    })
}
