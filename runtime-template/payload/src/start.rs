//! What is known only when the tracer starts: parameters and facts of the
//! target, stored into the object's `.rodata` before it is loaded, so that the
//! verifier prunes by them.
//!
//! In: slots that the compiler reserved. Out: what the runtime must write there.

use crate::probe::UserLocation;
use serde::{Deserialize, Serialize};

/// A place in `.rodata` that the runtime fills in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Offset in `.rodata`.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
    /// What goes there.
    pub value: StartValue,
}

/// A value that the runtime finds out. Integers fill the whole slot, little-endian.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StartValue {
    /// `$N` as a number (1-based index); text is a start-up error, a missing one is 0.
    ParameterInt(u32),
    /// `$N` as text, NUL-padded, cut to the slot.
    ParameterText(u32),
    /// Length in bytes of `$N` as text, without NUL.
    ParameterLength(u32),
    /// `$#`.
    ParameterCount,
    /// `getopt` number or bool: index into [`crate::manifest::Manifest::options`].
    OptionInt(u32),
    /// `getopt` text, NUL-padded, cut to the slot.
    OptionText(u32),
    /// Process id of the `-c` child, 0 without.
    ChildPid,
    /// 1 with `-c`.
    HasChild,
    /// Process id that `-p` restricts probes to, 0 without.
    PidFilter,
    /// The tracer's own process id.
    OwnPid,
    /// Inode of the tracer's PID namespace; 0 when it is the initial one.
    PidNamespaceInode,
    /// Device of the tracer's PID namespace.
    PidNamespaceDevice,
    /// Boot-clock nanoseconds when the tracer started.
    StartTime,
    /// Wall clock minus boot clock, in nanoseconds.
    WallClockOffset,
    /// TAI minus boot clock, in nanoseconds.
    TaiOffset,
    /// Number of possible CPUs.
    Cpus,
    /// Address of a kernel symbol; an unknown one is a start-up error. `$N` is what
    /// parameter N names, here and in the two that follow.
    KernelAddress(String),
    /// Address of a per-CPU kernel symbol, relative to the per-CPU base.
    PerCpuAddress(String),
    /// Id of the cgroup v2 directory at this path.
    CgroupId(String),
    /// Address of a symbol in a user binary (link-time address). The program
    /// reads `size` bytes there: the symbol's size in the binary at build time.
    UserAddress { path: String, symbol: String, size: u32 },
    /// How a user binary is found in a process, one of [`user_base`]; `at` is
    /// the probed place if it is a single one.
    UserBase { path: String, at: Option<UserLocation> },
    /// Link-time address of what [`StartValue::UserBase`] says is known.
    UserReference { path: String, at: Option<UserLocation> },
    /// 1 when the kernel has this kfunc.
    KfuncExists(String),
    /// 1 when programs of this type (`enum bpf_prog_type`) may call this kfunc.
    KfuncAllowed { name: String, program: u32 },
    /// 1 when the running kernel has a [`Feature`].
    Feature(Feature),
    /// Value of a setting in force, as a number.
    Setting(String),
    /// `$N` as the count of `unroll`: outside of 1 to [`MAX_UNROLL`] is a start-up error.
    UnrollCount(u32),
    /// All names of a kind, for programs that compare them: texts of
    /// [`NameTable::width`] bytes, [`NameTable::entries`] of them, then one for all other numbers.
    Names(NameTable),
    /// First id of the attach points of that full name, or at a function of that name, of
    /// those that one program (index into [`crate::manifest::Manifest::programs`]) is
    /// attached to.
    ProbeId { program: u32, name: String },
    /// How many ids from that one on belong to such attach points.
    ProbeCount { program: u32, name: String },
    /// A number of the script's own, where one of the run's may stand.
    Literal(i64),
    /// How many buckets that makes; numbers that make none are a start-up error.
    Buckets(Box<Buckets>),
}

/// What a run decides of a map's histograms: the arguments of `hist` or `lhist`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Buckets {
    /// Bits of detail.
    Hist(StartValue),
    /// Minimum, maximum, step.
    Lhist([StartValue; 3]),
}

/// Most rounds of `unroll`.
pub const MAX_UNROLL: u32 = 100;

/// Numbers that have names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NameTable {
    /// Texts of errno.
    Errors,
    /// Descriptions of signals.
    Signals,
    /// System calls.
    Syscalls,
}

impl NameTable {
    /// Numbers from 0 up to this have entries; above all known errors, signals and system calls.
    pub const fn entries(self) -> u32 {
        match self {
            NameTable::Errors => 136,
            NameTable::Signals => 65,
            NameTable::Syscalls => 512,
        }
    }

    /// Bytes of an entry, NUL-padded.
    pub const fn width(self) -> u32 {
        match self {
            NameTable::Errors => 64,
            NameTable::Signals | NameTable::Syscalls => 32,
        }
    }
}

/// Values of [`StartValue::UserBase`].
pub mod user_base {
    /// Addresses are what the linker made them.
    pub const FIXED: u64 = 0;
    /// The binary is the process's program: its code starts at `mm->start_code`.
    pub const PROGRAM: u64 = 1;
    /// The binary is a library: the probed place is at the instruction pointer.
    pub const PROBE: u64 = 2;
}

/// What a kernel may or may not be able to do. The runtime probes for it; no
/// version is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Feature {
    /// Atomic operations that return the old value (5.12).
    FetchAtomics,
    /// `bpf_get_attach_cookie` and links that carry one (5.15).
    AttachCookie,
    /// `bpf_for_each_map_elem` (5.13).
    ForEachMapElem,
    /// `bpf_loop` (5.17).
    Loop,
    /// `bpf_get_func_ip` (5.15).
    FuncIp,
    /// `bpf_get_current_task_btf` (5.11).
    CurrentTaskBtf,
    /// kprobe.multi links (5.18, with `CONFIG_FPROBE`).
    KprobeMulti,
    /// uprobe.multi links (6.6).
    UprobeMulti,
    /// Sessions: one program at entry and return (6.10).
    KprobeSession,
    /// `bpf_ktime_get_tai_ns` (6.1).
    TaiClock,
    /// `bpf_map_lookup_percpu_elem` (5.19).
    LookupPerCpu,
    /// `bpf_send_signal_thread` (5.6).
    SendSignalThread,
    /// `bpf_override_return` with `CONFIG_BPF_KPROBE_OVERRIDE`.
    Override,
    /// fentry/fexit trampolines (5.5, with function-graph direct calls).
    Fentry,
    /// `bpf_d_path` (5.10).
    DPath,
    /// `bpf_strncmp` (5.17).
    Strncmp,
    /// `bpf_get_socket_cookie` in tracing programs (5.12).
    TracingSocketCookie,
    /// Ring buffer maps (5.8).
    RingBuffer,
    /// BPF iterators (5.8).
    Iterators,
    /// `bpf_skb_output` (5.5).
    SkbOutput,
    /// `bpf_ktime_get_boot_ns` (5.8).
    BootClock,
}
