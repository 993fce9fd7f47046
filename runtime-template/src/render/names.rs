//! Numbers that have names: errors, signals, system calls, users, cgroups,
//! GFP flags.

use super::Renderer;
use std::ffi::CStr;
use std::os::unix::fs::DirEntryExt;

/// Text of an errno.
pub fn error_text(errno: i32) -> String {
    // SAFETY: strerror returns a NUL-terminated string; nothing else calls it.
    let text = unsafe { CStr::from_ptr(libc::strerror(errno.wrapping_abs())) }.to_string_lossy().into_owned();
    if text.starts_with("Unknown error") { "Unknown error".into() } else { text }
}

/// Description of a signal.
pub fn signal_text(signal: i32) -> String {
    // SAFETY: strsignal returns a NUL-terminated string or null; nothing else calls it.
    let text = unsafe { libc::strsignal(signal) };
    if text.is_null() {
        return format!("Unknown signal {signal}");
    }
    // SAFETY: not null, so NUL-terminated.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// System calls of this architecture by number, separated by blanks; `-` where there is none.
#[cfg(target_arch = "x86_64")]
const SYSCALLS: &str = include_str!("syscalls-x86_64.txt");
#[cfg(not(target_arch = "x86_64"))]
const SYSCALLS: &str = include_str!("syscalls-generic.txt");

/// Name of a system call.
pub fn syscall_text(number: i64) -> &'static str {
    let index = usize::try_from(number).unwrap_or(usize::MAX);
    SYSCALLS.split_ascii_whitespace().nth(index).filter(|n| *n != "-").unwrap_or("Unknown syscall")
}

/// Names of GFP flags as `%gr` shows them: composites first, then single bits
/// (include/linux/gfp_types.h; the bit numbers have been the same since 6.9).
const GFP_FLAGS: &[(u64, &str)] = &[
    (0x0100cca, "GFP_HIGHUSER_MOVABLE"),
    (0x0100cc2, "GFP_HIGHUSER"),
    (0x0100cc0, "GFP_USER"),
    (0x0400cc0, "GFP_KERNEL_ACCOUNT"),
    (0x0000cc0, "GFP_KERNEL"),
    (0x0000c40, "GFP_NOFS"),
    (0x0000820, "GFP_ATOMIC"),
    (0x0000c00, "GFP_NOIO"),
    (0x0002800, "GFP_NOWAIT"),
    (0x01, "GFP_DMA"),
    (0x02, "__GFP_HIGHMEM"),
    (0x04, "GFP_DMA32"),
    (0x08, "__GFP_MOVABLE"),
    (0x10, "__GFP_RECLAIMABLE"),
    (0x20, "__GFP_HIGH"),
    (0x40, "__GFP_IO"),
    (0x80, "__GFP_FS"),
    (0x100, "__GFP_ZERO"),
    (0x400, "__GFP_DIRECT_RECLAIM"),
    (0x800, "__GFP_KSWAPD_RECLAIM"),
    (0x1000, "__GFP_WRITE"),
    (0x2000, "__GFP_NOWARN"),
    (0x4000, "__GFP_RETRY_MAYFAIL"),
    (0x8000, "__GFP_NOFAIL"),
    (0x10000, "__GFP_NORETRY"),
    (0x20000, "__GFP_MEMALLOC"),
    (0x40000, "__GFP_COMP"),
    (0x80000, "__GFP_NOMEMALLOC"),
    (0x100000, "__GFP_HARDWALL"),
    (0x200000, "__GFP_THISNODE"),
    (0x400000, "__GFP_ACCOUNT"),
    (0x800000, "__GFP_ZEROTAGS"),
    (0x1000000, "__GFP_SKIP_ZERO"),
    (0x2000000, "__GFP_SKIP_KASAN"),
];

/// Names of GFP flags, joined by `|`.
pub fn gfp_flags(mut flags: u64) -> String {
    if flags == 0 {
        return "0".into();
    }
    let mut names = Vec::new();
    for &(bits, name) in GFP_FLAGS {
        if flags & bits == bits {
            names.push(name.to_string());
            flags &= !bits;
        }
    }
    if flags != 0 {
        names.push(format!("{flags:#x}"));
    }
    names.join("|")
}

impl Renderer<'_> {
    /// Name of a user, from `/etc/passwd`: the C library would load foreign
    /// modules for it, which a static executable must not.
    pub fn user_name(&mut self, uid: u32) -> String {
        let users = self.users.get_or_insert_with(|| {
            let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
            let entry = |l: &str| {
                let mut parts = l.split(':');
                let name = parts.next()?.to_string();
                Some((parts.nth(1)?.parse().ok()?, name))
            };
            // The first entry of an id counts.
            text.lines().rev().filter_map(entry).collect()
        });
        users.get(&uid).cloned().unwrap_or_default()
    }

    /// Paths of a cgroup as `hierarchy:path`, one for each hierarchy it is found in.
    pub fn cgroup_paths(&mut self, id: u64, controller: &str) -> String {
        let found = self.cgroups.entry(id).or_insert_with(|| find_cgroup(id));
        let wanted = |name: &str| controller.is_empty() || btc_payload::probe::pattern_matches(controller, name);
        let shown: Vec<String> = found.iter().filter(|(n, _)| wanted(n)).map(|(n, p)| format!("{n}:{p}")).collect();
        shown.join(",")
    }
}

/// (hierarchy, path) of all cgroups with an id.
fn find_cgroup(id: u64) -> Vec<(String, String)> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut found = Vec::new();
    for line in mounts.lines() {
        let mut parts = line.split(' ');
        let (Some(_), Some(at), Some(kind)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let name = match kind {
            "cgroup2" => "unified".to_string(),
            "cgroup" => at.rsplit('/').next().unwrap_or(at).to_string(),
            _ => continue,
        };
        if let Some(path) = search(at, at, id, 0) {
            found.push((name, path));
        }
    }
    // The unified hierarchy first, the old ones by name.
    found.sort_by(|a, b| (a.0 != "unified", &a.0).cmp(&(b.0 != "unified", &b.0)));
    found
}

fn search(root: &str, at: &str, id: u64, depth: u32) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    if depth == 0 && std::fs::metadata(at).is_ok_and(|m| m.ino() == id) {
        return Some("/".into());
    }
    let mut below = Vec::new();
    for entry in std::fs::read_dir(at).ok()?.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        let path = entry.path().to_string_lossy().into_owned();
        if entry.ino() == id {
            return Some(path[root.len()..].to_string());
        }
        below.push(path);
    }
    if depth > 32 {
        return None;
    }
    below.iter().find_map(|p| search(root, p, id, depth + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables() {
        assert_eq!(error_text(2), "No such file or directory");
        assert_eq!(error_text(-2), "No such file or directory");
        assert_eq!(error_text(9999), "Unknown error");
        assert_eq!(signal_text(9), "Killed");
        assert_eq!(gfp_flags(0xcc0), "GFP_KERNEL");
        assert_eq!(gfp_flags(0xcc0 | 0x100), "GFP_KERNEL|__GFP_ZERO");
        assert_eq!(syscall_text(-1), "Unknown syscall");
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn system_calls() {
        assert_eq!(syscall_text(0), "read");
        assert_eq!(syscall_text(110), "getppid");
        assert_eq!(syscall_text(257), "openat");
        assert_eq!(syscall_text(99999), "Unknown syscall");
    }
}
