//! What this kernel can do, found out by trying, each thing at most once and
//! only when asked.
//!
//! In: a [`Feature`]. Out: yes or no. No version is compared, except where
//! trying would itself do harm (preallocation).

use btc_payload::start::Feature;
use libbpf_rs::libbpf_sys as bpf;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null;

/// How a feature is tried.
enum Trial {
    /// A helper that programs of a type may call.
    Helper(bpf::bpf_prog_type, u32),
    /// A function that tries it. Helpers of fentry programs cannot be tried
    /// without a BTF target: that such programs load at all stands for them.
    Loads(fn() -> bool),
    /// A map type.
    Map(bpf::bpf_map_type),
}

/// Feature, its name in messages, the first release that has it, how to try it.
const FEATURES: &[(Feature, &str, &str, Trial)] = &[
    (Feature::FetchAtomics, "atomic operations that fetch", "5.12", Trial::Loads(fetch_atomics)),
    (Feature::AttachCookie, "attach cookies", "5.15", Trial::Helper(bpf::BPF_PROG_TYPE_KPROBE, 174)),
    (
        Feature::ForEachMapElem,
        "loops over maps (bpf_for_each_map_elem)",
        "5.13",
        Trial::Helper(bpf::BPF_PROG_TYPE_KPROBE, 164),
    ),
    (Feature::Loop, "bpf_loop", "5.17", Trial::Helper(bpf::BPF_PROG_TYPE_KPROBE, 181)),
    (Feature::FuncIp, "bpf_get_func_ip", "5.15", Trial::Helper(bpf::BPF_PROG_TYPE_KPROBE, 173)),
    (Feature::CurrentTaskBtf, "bpf_get_current_task_btf", "5.11", Trial::Helper(bpf::BPF_PROG_TYPE_KPROBE, 158)),
    (Feature::KprobeMulti, "kprobe.multi", "5.18", Trial::Loads(kprobe_multi)),
    (Feature::UprobeMulti, "uprobe.multi", "6.6", Trial::Loads(uprobe_multi)),
    (Feature::KprobeSession, "kprobe sessions", "6.10", Trial::Loads(kprobe_session)),
    (Feature::TaiClock, "the TAI clock (bpf_ktime_get_tai_ns)", "6.1", Trial::Helper(bpf::BPF_PROG_TYPE_KPROBE, 208)),
    (Feature::LookupPerCpu, "bpf_map_lookup_percpu_elem", "5.19", Trial::Helper(bpf::BPF_PROG_TYPE_KPROBE, 195)),
    (Feature::SendSignalThread, "bpf_send_signal_thread", "5.6", Trial::Helper(bpf::BPF_PROG_TYPE_KPROBE, 117)),
    (
        Feature::Override,
        "bpf_override_return (CONFIG_BPF_KPROBE_OVERRIDE)",
        "4.16",
        Trial::Helper(bpf::BPF_PROG_TYPE_KPROBE, 58),
    ),
    (Feature::Fentry, "fentry/fexit", "5.5", Trial::Loads(fentry)),
    (Feature::DPath, "bpf_d_path", "5.10", Trial::Loads(fentry)),
    (Feature::Strncmp, "bpf_strncmp", "5.17", Trial::Helper(bpf::BPF_PROG_TYPE_KPROBE, 182)),
    (Feature::TracingSocketCookie, "bpf_get_socket_cookie in tracing", "5.12", Trial::Loads(fentry)),
    (Feature::RingBuffer, "ring buffers", "5.8", Trial::Map(bpf::BPF_MAP_TYPE_RINGBUF)),
    (Feature::Iterators, "BPF iterators", "5.8", Trial::Map(bpf::BPF_MAP_TYPE_RINGBUF)),
    (Feature::SkbOutput, "bpf_skb_output", "5.5", Trial::Loads(fentry)),
    (Feature::BootClock, "bpf_ktime_get_boot_ns", "5.8", Trial::Helper(bpf::BPF_PROG_TYPE_KPROBE, 125)),
];

/// What is known of the running kernel so far.
#[derive(Default)]
pub struct Features {
    known: RefCell<BTreeMap<Feature, bool>>,
}

/// What `--no-feature` may turn off: features that only make attaching faster.
pub const OPTIONAL: [(&str, Feature); 3] = [
    ("kprobe_multi", Feature::KprobeMulti),
    ("kprobe_session", Feature::KprobeSession),
    ("uprobe_multi", Feature::UprobeMulti),
];

impl Features {
    /// All but some, which are not used even if they are there.
    pub fn without(off: &[Feature]) -> Features {
        Features { known: RefCell::new(off.iter().map(|&f| (f, false)).collect()) }
    }

    /// Does the kernel have it?
    pub fn has(&self, feature: Feature) -> bool {
        if let Some(&known) = self.known.borrow().get(&feature) {
            return known;
        }
        let yes = FEATURES.iter().find(|f| f.0 == feature).is_some_and(|f| match &f.3 {
            // SAFETY: takes integers; the null pointer means default options.
            Trial::Helper(kind, id) => unsafe { bpf::libbpf_probe_bpf_helper(*kind, *id, null()) == 1 },
            // SAFETY: as above.
            Trial::Map(kind) => unsafe { bpf::libbpf_probe_bpf_map_type(*kind, null()) == 1 },
            Trial::Loads(f) => f(),
        });
        self.known.borrow_mut().insert(feature, yes);
        yes
    }
}

/// Name of a feature in messages, and the first release that has it.
pub fn describe(feature: Feature) -> (&'static str, &'static str) {
    FEATURES.iter().find(|f| f.0 == feature).map_or(("?", "?"), |f| (f.1, f.2))
}

/// Are hash maps without preallocation safe in tracing programs? Trying on an
/// older kernel draws a kernel warning (kernel/bpf/verifier.c,
/// check_map_prealloc), so this one goes by version: allowed from 6.1.
pub fn no_prealloc() -> bool {
    crate::sys::kernel_version() >= (6, 1)
}

fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> [u8; 8] {
    let (o, i) = (off.to_le_bytes(), imm.to_le_bytes());
    [code, dst | src << 4, o[0], o[1], i[0], i[1], i[2], i[3]]
}

/// Loads a program that only serves to see whether it loads.
fn load(kind: bpf::bpf_prog_type, attach: bpf::bpf_attach_type, code: &[[u8; 8]]) -> Option<OwnedFd> {
    let mut opts = bpf::bpf_prog_load_opts {
        sz: size_of::<bpf::bpf_prog_load_opts>() as _,
        expected_attach_type: attach,
        ..Default::default()
    };
    // SAFETY: the strings are NUL-terminated and `code` is `code.len()` instructions.
    let fd =
        unsafe { bpf::bpf_prog_load(kind, null(), c"GPL".as_ptr(), code.as_ptr().cast(), code.len() as _, &mut opts) };
    // SAFETY: the kernel just returned this descriptor.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `r0 = 0; exit`.
fn nothing() -> [[u8; 8]; 2] {
    [insn(0xb7, 0, 0, 0, 0), insn(0x95, 0, 0, 0, 0)]
}

/// May programs of a type call a kernel function, given by its BTF id? The
/// verifier says "is not allowed" before it looks at the arguments
/// (check_kfunc_call, kernel/bpf/verifier.c); kernels without kfuncs (before
/// 5.13) find "reserved fields" in the call. Tracing programs want a function to
/// be attached to.
pub fn kfunc_allowed(program: u32, id: u32, attach_to: u32) -> bool {
    let mut log = [0u8; 4096];
    let tracing = program == bpf::BPF_PROG_TYPE_TRACING;
    let mut opts = bpf::bpf_prog_load_opts {
        sz: size_of::<bpf::bpf_prog_load_opts>() as _,
        expected_attach_type: if tracing { bpf::BPF_TRACE_FENTRY } else { 0 },
        attach_btf_id: if tracing { attach_to } else { 0 },
        log_level: 1,
        log_size: log.len() as _,
        log_buf: log.as_mut_ptr().cast(),
        ..Default::default()
    };
    // call of a BPF_PSEUDO_KFUNC_CALL; r0 = 0; exit
    let code = [insn(0x85, 0, 2, 0, id as i32), insn(0xb7, 0, 0, 0, 0), insn(0x95, 0, 0, 0, 0)];
    // SAFETY: the strings are NUL-terminated, `code` is three instructions, and the log outlives the call.
    let fd = unsafe { bpf::bpf_prog_load(program, null(), c"GPL".as_ptr(), code.as_ptr().cast(), 3, &mut opts) };
    if fd >= 0 {
        // SAFETY: the kernel just returned this descriptor.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
        return true;
    }
    let log = String::from_utf8_lossy(&log);
    fd != -libc::EPERM && !log.contains("not allowed") && !log.contains("reserved fields")
}

fn fetch_atomics() -> bool {
    let code = [
        insn(0xb7, 1, 0, 0, 1),
        insn(0x7b, 10, 1, -8, 0),
        // r1 = atomic_fetch_add((u64 *)(r10 - 8), r1)
        insn(0xdb, 10, 1, -8, 1),
        insn(0xb7, 0, 0, 0, 0),
        insn(0x95, 0, 0, 0, 0),
    ];
    load(bpf::BPF_PROG_TYPE_SOCKET_FILTER, 0, &code).is_some()
}

/// Attaching to a function that does not exist fails with ESRCH where multi
/// links work; older kernels do not know the attach type.
fn kprobe_multi() -> bool {
    let Some(program) = load(bpf::BPF_PROG_TYPE_KPROBE, bpf::BPF_TRACE_KPROBE_MULTI, &nothing()) else { return false };
    let name = c"btc_no_such_function".as_ptr();
    let mut opts = crate::sys::link_options();
    // SAFETY: plain integers and pointers of a union; the name outlives the call.
    unsafe {
        opts.__bindgen_anon_1.kprobe_multi.flags = 0;
        opts.__bindgen_anon_1.kprobe_multi.cnt = 1;
        opts.__bindgen_anon_1.kprobe_multi.syms = (&raw const name).cast_mut();
        let r = bpf::bpf_link_create(program.as_raw_fd(), 0, bpf::BPF_TRACE_KPROBE_MULTI, &opts);
        r == -libc::ESRCH || r == -libc::ENOENT
    }
}

/// A directory is refused with EBADF where multi links work.
fn uprobe_multi() -> bool {
    let Some(program) = load(bpf::BPF_PROG_TYPE_KPROBE, bpf::BPF_TRACE_UPROBE_MULTI, &nothing()) else { return false };
    let offset: libc::c_ulong = 0;
    let mut opts = crate::sys::link_options();
    // SAFETY: plain integers and pointers of a union; all outlive the call.
    unsafe {
        opts.__bindgen_anon_1.uprobe_multi.path = c"/".as_ptr();
        opts.__bindgen_anon_1.uprobe_multi.offsets = &raw const offset;
        opts.__bindgen_anon_1.uprobe_multi.cnt = 1;
        bpf::bpf_link_create(program.as_raw_fd(), -1, bpf::BPF_TRACE_UPROBE_MULTI, &opts) == -libc::EBADF
    }
}

fn kprobe_session() -> bool {
    load(bpf::BPF_PROG_TYPE_KPROBE, bpf::BPF_TRACE_KPROBE_SESSION, &nothing()).is_some()
}

/// Trampolines need BTF and function tracing with direct calls; the list of
/// traceable functions exists with the latter only.
fn fentry() -> bool {
    // SAFETY: takes integers; the null pointer means default options.
    let kind = unsafe { bpf::libbpf_probe_bpf_prog_type(bpf::BPF_PROG_TYPE_TRACING, null()) } == 1;
    let list = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
        .iter()
        .any(|root| std::path::Path::new(root).join("available_filter_functions").exists());
    kind && list && std::path::Path::new("/sys/kernel/btf/vmlinux").exists()
}
