//! What the name of a binary means: a path, a pattern of paths, a library or a
//! program, or `*` for everything that a process maps.
//!
//! In: the name as an attach point has it. Out: paths of ELF files, sorted.

use btc_payload::probe::{is_pattern, pattern_matches};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the dynamic linker of common distributions finds libraries.
const LIBRARY_DIRS: &[&str] =
    &["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];

/// The files that a name means; none if there are none.
pub(crate) fn binaries(name: &str, pid: Option<u32>) -> Vec<PathBuf> {
    match (name, pid) {
        ("*" | "", Some(pid)) => mapped_by(pid),
        ("*" | "", None) => Vec::new(),
        _ if is_pattern(name) => {
            let mut found = Vec::new();
            let name = inside(pid, name);
            let parts: Vec<&str> = name.split('/').collect();
            glob(PathBuf::new(), &parts, &mut found);
            found.retain(|p| is_elf(p));
            found
        }
        _ if name.contains('/') => existing(vec![PathBuf::from(inside(pid, name))]),
        _ => existing(libraries(pid, name).into_iter().chain(programs(pid, name)).collect()),
    }
}

fn existing(candidates: Vec<PathBuf>) -> Vec<PathBuf> {
    candidates.into_iter().find(|p| p.is_file()).into_iter().collect()
}

fn is_elf(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0u8; 4];
    fs::File::open(path).and_then(|mut f| f.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

/// Executable files that a process maps.
fn mapped_by(pid: u32) -> Vec<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let files: BTreeSet<&str> = text.lines().filter_map(executable_file).collect();
    files.into_iter().map(|file| PathBuf::from(inside(Some(pid), file))).filter(|p| is_elf(p)).collect()
}

/// A path of a process as we can open it: the process may live in another mount namespace.
fn inside(pid: Option<u32>, path: &str) -> String {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    let absolute = std::path::absolute(path).ok();
    match (pid, absolute.as_deref().and_then(Path::to_str)) {
        (Some(pid), Some(absolute)) if namespace(&pid.to_string()).is_some_and(|n| Some(n) != namespace("self")) => {
            format!("/proc/{pid}/root{absolute}")
        }
        _ => path.to_string(),
    }
}

/// `ADDRESSES PERMISSIONS OFFSET DEVICE INODE PATH`
fn executable_file(line: &str) -> Option<&str> {
    let permissions = line.split_ascii_whitespace().nth(1)?;
    let path = &line[line.find('/')?..];
    permissions.contains('x').then_some(path)
}

/// `c` and `libc` are `libc.so.6`.
fn libraries(pid: Option<u32>, name: &str) -> Vec<PathBuf> {
    let wanted = [name.to_string(), format!("lib{name}")];
    let mut found = Vec::new();
    for dir in LIBRARY_DIRS.iter().map(|dir| inside(pid, dir)) {
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
        names.retain(|file| {
            file == name || file.split_once(".so").is_some_and(|(stem, _)| wanted.iter().any(|w| w == stem))
        });
        names.sort();
        found.extend(names.iter().map(|file| Path::new(&dir).join(file)).filter(|p| is_elf(p)));
    }
    found
}

fn programs(pid: Option<u32>, name: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |dir: PathBuf| PathBuf::from(inside(pid, &dir.to_string_lossy()));
    std::env::split_paths(&path).map(|dir| there(dir).join(name)).collect()
}

fn glob(at: PathBuf, parts: &[&str], found: &mut Vec<PathBuf>) {
    let Some((first, rest)) = parts.split_first() else { return };
    let mut names: Vec<String> = match first {
        // The root, as the part before the first slash.
        &"" => vec!["/".into()],
        plain if !is_pattern(plain) => vec![(*plain).to_string()],
        pattern => {
            let dir = if at.as_os_str().is_empty() { Path::new(".") } else { at.as_path() };
            let entries = fs::read_dir(dir).into_iter().flatten().flatten();
            entries.filter_map(|e| e.file_name().into_string().ok()).filter(|n| pattern_matches(pattern, n)).collect()
        }
    };
    names.sort();
    for name in names {
        let path = at.join(name);
        match rest.is_empty() {
            true if path.is_file() => found.push(path),
            true => {}
            false => glob(path, rest, found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps() {
        let line = "7f0 r-xp 00000000 fe:00 123      /usr/lib/a b.so";
        assert_eq!(executable_file(line), Some("/usr/lib/a b.so"));
        assert_eq!(executable_file("7f0 rw-p 00000000 fe:00 123 /usr/lib/a.so"), None);
        assert_eq!(executable_file("7f0 r-xp 00000000 00:00 0 [vdso]"), None);
    }

    #[test]
    fn paths_of_processes_in_our_namespace_stay_as_they_are() {
        assert_eq!(inside(None, "./x"), "./x");
        assert_eq!(inside(Some(std::process::id()), "./x"), "./x");
    }

    #[test]
    fn patterns_of_paths() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.elf"), b"\x7fELF").unwrap();
        fs::write(dir.path().join("b.elf"), b"text").unwrap();
        let pattern = format!("{}/*.elf", dir.path().display());
        assert_eq!(binaries(&pattern, None), [dir.path().join("a.elf")]);
        assert!(binaries("/no/such/file", None).is_empty());
    }
}
