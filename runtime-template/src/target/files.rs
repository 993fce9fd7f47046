//! Files of the target: binaries by path, library name or program name, and
//! read-only mappings of them.

use anyhow::{Context, Result, bail};
use btc_payload::probe::{is_pattern, pattern_matches};
use std::collections::BTreeSet;
use std::ops::Deref;
use std::os::fd::AsRawFd;

/// A file mapped for reading: only the pages that are looked at are read.
pub struct Mapped {
    start: *mut libc::c_void,
    len: usize,
}

impl Mapped {
    /// Maps a file.
    pub fn open(path: &str) -> Result<Mapped> {
        let file = std::fs::File::open(path).with_context(|| format!("cannot open {path}"))?;
        let len = file.metadata().with_context(|| format!("cannot stat {path}"))?.len() as usize;
        if len == 0 {
            return Ok(Mapped { start: std::ptr::null_mut(), len });
        }
        // SAFETY: a fresh private mapping of an open file. Should somebody cut
        // the file while it is mapped, reading it would raise SIGBUS; binaries
        // being traced are not rewritten in place.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error()).with_context(|| format!("cannot map {path}"));
        }
        Ok(Mapped { start, len })
    }
}

impl Deref for Mapped {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: the mapping has `len` readable bytes as long as `self` lives.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.len) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: unmaps exactly what `open` mapped.
            unsafe { libc::munmap(self.start, self.len) };
        }
    }
}

/// Paths that a binary's name means: a path, a pattern of paths, a library or a
/// program; `*` alone is every executable file that the traced process maps.
pub fn binaries(name: &str, pid: Option<u32>) -> Result<Vec<String>> {
    if name == "*" {
        let Some(pid) = pid else { bail!("a probe in every binary of a process needs -p PID or -c CMD") };
        return mapped_by(pid);
    }
    // The traced process may live in another mount namespace.
    let root = pid.map(|p| format!("/proc/{p}/root")).filter(|r| other_root(r)).unwrap_or_default();
    if is_pattern(name) {
        let mut found = Vec::new();
        let absolute = std::path::absolute(name).ok().filter(|_| name.contains('/'));
        let name = absolute.as_ref().and_then(|p| p.to_str()).unwrap_or(name);
        glob(&format!("{root}/"), name.trim_start_matches('/').split('/').collect::<Vec<_>>().as_slice(), &mut found);
        found.retain(|p| is_elf(p));
        return Ok(found);
    }
    let candidates = if name.contains('/') {
        // What is relative to our directory is absolute in theirs.
        let absolute = std::path::absolute(name).ok().filter(|_| !root.is_empty());
        vec![format!("{root}{}", absolute.as_ref().and_then(|p| p.to_str()).unwrap_or(name))]
    } else {
        libraries(&root, name).into_iter().chain(programs(&root, name)).collect()
    };
    match candidates.into_iter().find(|p| std::fs::metadata(p).is_ok_and(|m| m.is_file())) {
        Some(path) => Ok(vec![path]),
        None if name.contains('/') => bail!("there is no file {name}"),
        None => bail!("there is neither a library nor a program {name}"),
    }
}

/// A path as it is shown: without the way into another namespace.
pub fn shown(path: &str) -> &str {
    match path.strip_prefix("/proc/").and_then(|r| r.split_once("/root/")) {
        Some((pid, rest)) if pid.bytes().all(|b| b.is_ascii_digit()) => &path[path.len() - rest.len() - 1..],
        _ => path,
    }
}

/// Does a process (`/proc/PID/root`) see other files than ours under the same
/// paths: another root, or another mount namespace with the same one?
pub fn other_root(root: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |p: &str| std::fs::metadata(p).map(|m| (m.dev(), m.ino())).ok();
    let differ = |theirs: String, ours| id(&theirs).is_some_and(|theirs| Some(theirs) != id(ours));
    let process = root.trim_end_matches("/root");
    differ(format!("{root}/"), "/") || differ(format!("{process}/ns/mnt"), "/proc/self/ns/mnt")
}

fn is_elf(path: &str) -> bool {
    use std::io::Read;
    let mut magic = [0u8; 4];
    std::fs::File::open(path).and_then(|mut f| f.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

/// Executable files that a process maps.
fn mapped_by(pid: u32) -> Result<Vec<String>> {
    let path = format!("/proc/{pid}/maps");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let files: BTreeSet<&str> = text
        .lines()
        .filter_map(|l| {
            let mut parts = l.split_ascii_whitespace();
            let executable = parts.nth(1)?.contains('x');
            parts.nth(3).filter(|p| executable && p.starts_with('/'))
        })
        .collect();
    Ok(files.into_iter().map(|f| format!("/proc/{pid}/root{f}")).filter(|f| is_elf(f)).collect())
}

fn glob(at: &str, parts: &[&str], found: &mut Vec<String>) {
    let Some((first, rest)) = parts.split_first() else { return };
    let mut names: Vec<String> = match is_pattern(first) {
        false => vec![(*first).to_string()],
        true => std::fs::read_dir(at)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| e.file_name().into_string().ok())
            .filter(|n| pattern_matches(first, n))
            .collect(),
    };
    names.sort();
    for name in names {
        let path = format!("{at}{name}");
        match rest.is_empty() {
            true if std::fs::metadata(&path).is_ok_and(|m| m.is_file()) => found.push(path),
            true => {}
            false => glob(&format!("{path}/"), rest, found),
        }
    }
}

/// Paths of a library in the dynamic linker's cache: by soname, or by its name
/// without `.so` and version.
fn libraries(root: &str, name: &str) -> Vec<String> {
    let Ok(cache) = std::fs::read(format!("{root}/etc/ld.so.cache")) else { return Vec::new() };
    let mut found: Vec<String> = cache_entries(&cache)
        .into_iter()
        .filter(|(soname, _)| {
            soname == name
                || soname.split(".so").next() == Some(name)
                || soname.split(".so").next() == Some(&format!("lib{name}"))
        })
        .map(|(_, path)| format!("{root}{path}"))
        .collect();
    // The soname itself before what only begins like it.
    found.sort_by_key(|p| !p.ends_with(name));
    found
}

/// (soname, path) pairs of a cache in glibc's current format.
fn cache_entries(cache: &[u8]) -> Vec<(String, String)> {
    const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
    // The old format may come first, with the new one behind it; string
    // offsets count from the start of the new one.
    let Some(start) = cache.windows(MAGIC.len()).position(|w| w == MAGIC) else { return Vec::new() };
    let cache = &cache[start..];
    let word = |at: usize| cache.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])) as usize;
    let text = |at: usize| {
        let rest = cache.get(at..).unwrap_or(&[]);
        let end = rest.iter().position(|&b| b == 0).unwrap_or(0);
        String::from_utf8_lossy(&rest[..end]).into_owned()
    };
    // Header of 48 bytes (`struct cache_file_new`), entries of 24: flags, key, value, ...
    let count = word(20).min(cache.len() / 24);
    (0..count).map(|i| (text(word(48 + i * 24 + 4)), text(word(48 + i * 24 + 8)))).collect()
}

/// Paths of a program along `PATH`.
fn programs(root: &str, name: &str) -> Vec<String> {
    let path =
        std::env::var("PATH").unwrap_or_else(|_| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into());
    path.split(':').filter(|d| !d.is_empty()).map(|d| format!("{root}{d}/{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_format() {
        let mut cache = b"old format glibc-ld.so.cache1.1".to_vec();
        let start = 11;
        cache.extend_from_slice(&1u32.to_le_bytes());
        cache.resize(start + 48, 0);
        let strings = 48 + 24;
        for w in [3u32, strings, strings + 10, 0, 0, 0] {
            cache.extend_from_slice(&w.to_le_bytes());
        }
        cache.extend_from_slice(b"libx.so.6\0/lib/libx.so.6\0");
        assert_eq!(cache_entries(&cache), [("libx.so.6".to_string(), "/lib/libx.so.6".to_string())]);
        for cut in 0..cache.len() {
            let _ = cache_entries(&cache[..cut]);
        }
    }

    #[test]
    fn shown_paths() {
        assert_eq!(shown("/proc/12/root/usr/bin/x"), "/usr/bin/x");
        assert_eq!(shown("/proc/self/root/usr/bin/x"), "/proc/self/root/usr/bin/x");
        assert_eq!(shown("/usr/bin/x"), "/usr/bin/x");
    }

    #[test]
    fn own_binary_maps() {
        let me = std::env::current_exe().unwrap();
        let file = Mapped::open(me.to_str().unwrap()).unwrap();
        assert_eq!(&file[..4], b"\x7fELF");
        assert!(Mapped::open("/nonexistent").is_err());
    }
}
