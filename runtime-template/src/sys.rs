//! Thin wrappers of the system calls that no crate here offers.
//!
//! In: typed arguments. Out: owned descriptors or `io::Error`. Knows nothing of
//! scripts.

use libbpf_rs::libbpf_sys as bpf;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// `struct perf_event_attr` up to `config2` (`PERF_ATTR_SIZE_VER1`): all that
/// is used here, and accepted by every kernel.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct PerfAttr {
    /// PMU type.
    pub kind: u32,
    /// Filled in by [`perf_event_open`].
    pub size: u32,
    /// Event of the PMU.
    pub config: u64,
    /// Period, or frequency with [`PERF_FREQ`].
    pub sample_period: u64,
    /// What samples hold; unused.
    pub sample_type: u64,
    /// What reads return; unused.
    pub read_format: u64,
    /// Bits such as [`PERF_DISABLED`].
    pub flags: u64,
    /// Events before a wakeup.
    pub wakeup: u32,
    /// Kind of a hardware breakpoint.
    pub breakpoint: u32,
    /// Breakpoint address, or pointer to a probe's function or path.
    pub config1: u64,
    /// Breakpoint length, or offset or address of a probe.
    pub config2: u64,
}

/// Names this process as it was called: when it runs from a file without a name, the
/// kernel names it by the descriptor (before Linux 6.14).
pub fn set_name(name: &str) {
    let Ok(name) = std::ffi::CString::new(name) else { return };
    // SAFETY: takes a NUL-terminated string, of which it copies 16 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Starts disabled.
pub const PERF_DISABLED: u64 = 1;
/// The children of the traced process are counted, too.
pub const PERF_INHERIT: u64 = 1 << 1;
/// `sample_period` is a frequency.
pub const PERF_FREQ: u64 = 1 << 10;

const PERF_IOC_ENABLE: libc::Ioctl = 0x2400;
const PERF_IOC_SET_BPF: libc::Ioctl = 0x4004_2408;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;

/// The result of a call that returns a descriptor or a negated errno.
fn fd_result(r: i64) -> io::Result<OwnedFd> {
    if r >= 0 {
        // SAFETY: the kernel just returned this descriptor to us.
        return Ok(unsafe { OwnedFd::from_raw_fd(r as i32) });
    }
    Err(if r == -1 { io::Error::last_os_error() } else { io::Error::from_raw_os_error(-r as i32) })
}

/// Opens a perf event.
pub fn perf_event_open(mut attr: PerfAttr, pid: i32, cpu: i32) -> io::Result<OwnedFd> {
    attr.size = size_of::<PerfAttr>() as u32;
    // SAFETY: `attr` is a valid attribute block of the stated size.
    let r = unsafe { libc::syscall(libc::SYS_perf_event_open, &raw const attr, pid, cpu, -1i32, PERF_FLAG_FD_CLOEXEC) };
    fd_result(r)
}

/// Attaches a program to a perf event and enables it. With a cookie, or
/// without one where the kernel has no perf links (before 5.15). Returns what
/// must stay open.
pub fn attach_perf(program: BorrowedFd<'_>, event: OwnedFd, cookie: u64) -> io::Result<Vec<OwnedFd>> {
    let mut opts = link_options();
    opts.__bindgen_anon_1.perf_event.bpf_cookie = cookie;
    let link = match link_create(program, event.as_raw_fd(), bpf::BPF_PERF_EVENT, &opts) {
        Ok(link) => Some(link),
        Err(_) if cookie == 0 => None,
        // Before 5.15 there are neither links nor cookies: whoever needs the
        // identity has got a program of its own then.
        Err(_) => None,
    };
    // SAFETY: both descriptors are open; the ioctls take integers.
    unsafe {
        if link.is_none() && libc::ioctl(event.as_raw_fd(), PERF_IOC_SET_BPF, program.as_raw_fd()) < 0 {
            return Err(io::Error::last_os_error());
        }
        if libc::ioctl(event.as_raw_fd(), PERF_IOC_ENABLE, 0) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(link.into_iter().chain([event]).collect())
}

/// Stops a perf event; a descriptor that is none is left alone.
pub fn disable_perf(event: RawFd) {
    // PERF_EVENT_IOC_DISABLE of linux/perf_event.h.
    const DISABLE: libc::Ioctl = 0x2401;
    // SAFETY: the ioctl takes an integer.
    unsafe { libc::ioctl(event, DISABLE, 0) };
}

/// Empty options of [`link_create`].
pub fn link_options() -> bpf::bpf_link_create_opts {
    bpf::bpf_link_create_opts { sz: size_of::<bpf::bpf_link_create_opts>() as _, ..Default::default() }
}

/// Creates a BPF link.
pub fn link_create(
    program: BorrowedFd<'_>,
    target: i32,
    kind: bpf::bpf_attach_type,
    opts: &bpf::bpf_link_create_opts,
) -> io::Result<OwnedFd> {
    // SAFETY: `opts` is valid and names its own size.
    fd_result(i64::from(unsafe { bpf::bpf_link_create(program.as_raw_fd(), target, kind, opts) }))
}

/// Attaches to a raw tracepoint; without a name to the program's own BTF target.
pub fn raw_tracepoint_open(program: BorrowedFd<'_>, name: Option<&CStr>) -> io::Result<OwnedFd> {
    let name = name.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: the name is NUL-terminated or null.
    fd_result(i64::from(unsafe { bpf::bpf_raw_tracepoint_open(name, program.as_raw_fd()) }))
}

/// Runs a raw tracepoint program once, here; what it returned.
pub fn test_run(program: BorrowedFd<'_>) -> io::Result<u32> {
    let mut context = [0u64; 12];
    let mut opts = bpf::bpf_test_run_opts {
        sz: size_of::<bpf::bpf_test_run_opts>() as _,
        ctx_in: context.as_mut_ptr().cast(),
        ctx_size_in: size_of_val(&context) as u32,
        ..Default::default()
    };
    // SAFETY: `opts` and the context live during the call.
    let r = unsafe { bpf::bpf_prog_test_run_opts(program.as_raw_fd(), &mut opts) };
    if r < 0 { Err(io::Error::from_raw_os_error(-r)) } else { Ok(opts.retval) }
}

/// Makes the kernel count the run time of programs while the result lives.
pub fn count_run_time() -> io::Result<OwnedFd> {
    // SAFETY: takes an integer; `BPF_STATS_RUN_TIME` is 0.
    let fd = unsafe { bpf::bpf_enable_stats(0) };
    if fd < 0 { Err(io::Error::last_os_error()) } else { fd_result(libc::c_long::from(fd)) }
}

/// Nanoseconds that a program has run, and how often, while that was counted.
pub fn run_time(program: RawFd) -> io::Result<(u64, u64)> {
    program_info(program).map(|info| (info.run_time_ns, info.run_cnt))
}

/// How often the kernel did not run a program because one ran on that CPU already
/// (Linux 5.12; 0 before).
pub fn recursion_misses(program: RawFd) -> u64 {
    program_info(program).map_or(0, |info| info.recursion_misses)
}

fn program_info(program: RawFd) -> io::Result<bpf::bpf_prog_info> {
    let mut info = bpf::bpf_prog_info::default();
    let mut size = size_of_val(&info) as u32;
    // SAFETY: the buffer has the stated size.
    let r = unsafe { bpf::bpf_obj_get_info_by_fd(program, (&raw mut info).cast(), &mut size) };
    if r < 0 { Err(io::Error::last_os_error()) } else { Ok(info) }
}

/// Waits until every BPF program that runs now has ended: this command of
/// `membarrier` is `synchronize_rcu()` (kernel/sched/membarrier.c).
pub fn rcu_barrier() {
    // SAFETY: takes integers only. A kernel without it leaves a race of microseconds.
    unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
}

/// Ids and names of all BPF programs that are loaded.
pub fn bpf_programs() -> Vec<(u32, String)> {
    let (mut found, mut id) = (Vec::new(), 0);
    // SAFETY: `id` is valid for writing.
    while unsafe { bpf::bpf_prog_get_next_id(id, &mut id) } == 0 {
        let Ok(fd) = bpf_program(id) else { continue };
        // Room for the first function of several: it is the program itself.
        let mut function = bpf::bpf_func_info::default();
        let mut info = bpf::bpf_prog_info {
            nr_func_info: 1,
            func_info_rec_size: size_of_val(&function) as u32,
            func_info: (&raw mut function) as u64,
            ..Default::default()
        };
        let mut size = size_of_val(&info) as u32;
        // SAFETY: the buffers have the stated sizes.
        if unsafe { bpf::bpf_obj_get_info_by_fd(fd.as_raw_fd(), (&raw mut info).cast(), &mut size) } == 0 {
            // The kernel keeps 15 characters of a name (BPF_OBJ_NAME_LEN), the program's BTF all.
            let full = (info.btf_id != 0).then(|| btf_name(info.btf_id, function.type_id)).flatten();
            let short = || info.name.iter().take_while(|c| **c != 0).map(|c| *c as u8 as char).collect();
            found.push((id, full.unwrap_or_else(short)));
        }
    }
    found
}

/// Name of a type in BTF that the kernel holds.
fn btf_name(btf: u32, id: u32) -> Option<String> {
    // SAFETY: what libbpf returns is checked and freed; the name is copied before that.
    unsafe {
        let btf = bpf::btf__load_from_kernel_by_id(btf);
        if btf.is_null() {
            return None;
        }
        let ty = bpf::btf__type_by_id(btf, id);
        let name = if ty.is_null() { std::ptr::null() } else { bpf::btf__name_by_offset(btf, (*ty).name_off) };
        let text = (!name.is_null()).then(|| std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned());
        bpf::btf__free(btf);
        text.filter(|t| !t.is_empty())
    }
}

/// A loaded BPF program.
pub fn bpf_program(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes an integer.
    let fd = unsafe { bpf::bpf_prog_get_fd_by_id(id) };
    if fd < 0 { Err(io::Error::last_os_error()) } else { fd_result(libc::c_long::from(fd)) }
}

/// `struct __user_cap_header_struct` and two `__user_cap_data_struct`
/// (uapi/linux/capability.h): effective, permitted, inheritable.
type CapabilitySets = [[u32; 3]; 2];
const CAPABILITY_VERSION_3: [u32; 2] = [0x2008_0522, 0];

fn capability_sets() -> Option<CapabilitySets> {
    let (mut header, mut sets) = (CAPABILITY_VERSION_3, CapabilitySets::default());
    // SAFETY: both have the sizes that this version of the call has.
    let r = unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) };
    (r == 0).then_some(sets)
}

/// Effective capabilities, a bit each. Where they cannot be read all: the kernel decides.
pub fn capabilities() -> u64 {
    capability_sets().map_or(u64::MAX, |s| u64::from(s[0][0]) | u64::from(s[1][0]) << 32)
}

/// Gives up all other capabilities, for this process and what it starts. A kernel
/// that refuses leaves things as they are: nothing depends on it.
pub fn keep_capabilities(keep: u64) {
    let Some(mut sets) = capability_sets() else { return };
    for (half, set) in sets.iter_mut().enumerate() {
        set.iter_mut().for_each(|word| *word &= (keep >> (32 * half)) as u32);
    }
    let mut header = CAPABILITY_VERSION_3;
    // SAFETY: as above; prctl takes integers. A file with capabilities would bring them back.
    unsafe {
        libc::syscall(libc::SYS_capset, header.as_mut_ptr(), sets.as_ptr());
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    }
}

/// `pidfd_open`.
pub fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes integers only.
    fd_result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// Nanoseconds of a clock.
pub fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is valid for writing.
    unsafe { libc::clock_gettime(clock, &mut t) };
    (t.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(t.tv_nsec as u64)
}

/// CPUs that are online, from `/sys/devices/system/cpu/online`.
pub fn online_cpus() -> Vec<u32> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let cpus = parse_cpu_list(&text);
    if cpus.is_empty() { vec![0] } else { cpus }
}

/// Number of CPUs that could ever be online: how many values a per-CPU map has.
pub fn possible_cpus() -> u32 {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    parse_cpu_list(&text).last().map_or(1, |last| last + 1)
}

/// Parses `0-3,5`.
fn parse_cpu_list(text: &str) -> Vec<u32> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) {
            cpus.extend(first..=last.min(first + 65_536));
        }
    }
    cpus
}

/// Writes all of `bytes`, going on after interruptions.
pub fn write_all(fd: i32, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        // SAFETY: the pointer and length describe `bytes`.
        let n = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        if n < 0 {
            let e = io::Error::last_os_error();
            if e.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Err(e);
        }
        bytes = &bytes[n as usize..];
    }
    Ok(())
}

/// Release of the running kernel as numbers, such as (6, 1).
pub fn kernel_version() -> (u32, u32) {
    let release = kernel_release();
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|p| p.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// Release of the running kernel.
pub fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists() {
        assert_eq!(parse_cpu_list("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(parse_cpu_list("0"), [0]);
        assert!(parse_cpu_list("").is_empty());
    }
}
