//! The BPF helpers a tracer may call: number, name, parameters, first kernel.
//!
//! A leaf: it knows no stage and nothing about the script language. Numbers
//! and names are those of `enum bpf_func_id` in the kernel's
//! `include/uapi/linux/bpf.h`; the kernel version is the one in which a
//! *tracing* program could first call the helper (`get_socket_cookie` is older
//! for sockets, but takes a `struct sock *` in tracing programs since 5.12).
//! Adding a helper means adding one row.

use std::fmt;

/// A kernel version, `major.minor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// The 5 of 5.10.
    pub major: u8,
    /// The 10 of 5.10.
    pub minor: u8,
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What is known about one helper.
#[derive(Clone, Copy, Debug)]
pub struct HelperInfo {
    /// Which helper the row describes.
    pub helper: Helper,
    /// Its name without the `bpf_` prefix.
    pub name: &'static str,
    /// First kernel whose tracing programs may call it.
    pub since: KernelVersion,
    /// Names of its parameters; their number is the number of arguments.
    pub params: &'static [&'static str],
}

macro_rules! helpers {
    ($($variant:ident = $id:literal $name:ident v $major:literal $minor:literal ($($param:ident),*);)*) => {
        /// A BPF helper; the discriminant is the number in the `call` instruction.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        #[allow(missing_docs, reason = "the names are the kernel's")]
        pub enum Helper {
            $($variant = $id,)*
        }

        /// All helpers, sorted by number.
        static TABLE: &[HelperInfo] = &[
            $(HelperInfo {
                helper: Helper::$variant,
                name: stringify!($name),
                since: KernelVersion { major: $major, minor: $minor },
                params: &[$(stringify!($param)),*],
            },)*
        ];
    };
}

helpers! {
    MapLookupElem = 1 map_lookup_elem v 3 19 (map, key);
    MapUpdateElem = 2 map_update_elem v 3 19 (map, key, value, flags);
    MapDeleteElem = 3 map_delete_elem v 3 19 (map, key);
    ProbeRead = 4 probe_read v 4 1 (dst, size, unsafe_ptr);
    KtimeGetNs = 5 ktime_get_ns v 4 1 ();
    TracePrintk = 6 trace_printk v 4 1 (fmt, fmt_size, arg1, arg2, arg3);
    GetPrandomU32 = 7 get_prandom_u32 v 4 1 ();
    GetSmpProcessorId = 8 get_smp_processor_id v 4 1 ();
    TailCall = 12 tail_call v 4 2 (ctx, prog_array_map, index);
    GetCurrentPidTgid = 14 get_current_pid_tgid v 4 2 ();
    GetCurrentUidGid = 15 get_current_uid_gid v 4 2 ();
    GetCurrentComm = 16 get_current_comm v 4 2 (buf, size);
    PerfEventRead = 22 perf_event_read v 4 3 (map, flags);
    PerfEventOutput = 25 perf_event_output v 4 4 (ctx, map, flags, data, size);
    GetStackid = 27 get_stackid v 4 6 (ctx, map, flags);
    GetCurrentTask = 35 get_current_task v 4 8 ();
    ProbeWriteUser = 36 probe_write_user v 4 8 (dst, src, len);
    CurrentTaskUnderCgroup = 37 current_task_under_cgroup v 4 9 (map, index);
    GetNumaNodeId = 42 get_numa_node_id v 4 10 ();
    ProbeReadStr = 45 probe_read_str v 4 11 (dst, size, unsafe_ptr);
    GetSocketCookie = 46 get_socket_cookie v 5 12 (sk);
    PerfEventReadValue = 55 perf_event_read_value v 4 15 (map, flags, buf, buf_size);
    PerfProgReadValue = 56 perf_prog_read_value v 4 15 (ctx, buf, buf_size);
    OverrideReturn = 58 override_return v 4 16 (regs, rc);
    GetStack = 67 get_stack v 4 18 (ctx, buf, size, flags);
    GetCurrentCgroupId = 80 get_current_cgroup_id v 4 18 ();
    MapPushElem = 87 map_push_elem v 4 20 (map, value, flags);
    MapPopElem = 88 map_pop_elem v 4 20 (map, value);
    MapPeekElem = 89 map_peek_elem v 4 20 (map, value);
    SpinLock = 93 spin_lock v 5 1 (lock);
    SpinUnlock = 94 spin_unlock v 5 1 (lock);
    SendSignal = 109 send_signal v 5 3 (sig);
    SkbOutput = 111 skb_output v 5 5 (ctx, map, flags, data, size);
    ProbeReadUser = 112 probe_read_user v 5 5 (dst, size, unsafe_ptr);
    ProbeReadKernel = 113 probe_read_kernel v 5 5 (dst, size, unsafe_ptr);
    ProbeReadUserStr = 114 probe_read_user_str v 5 5 (dst, size, unsafe_ptr);
    ProbeReadKernelStr = 115 probe_read_kernel_str v 5 5 (dst, size, unsafe_ptr);
    SendSignalThread = 117 send_signal_thread v 5 6 (sig);
    Jiffies64 = 118 jiffies64 v 5 6 ();
    ReadBranchRecords = 119 read_branch_records v 5 6 (ctx, buf, size, flags);
    GetNsCurrentPidTgid = 120 get_ns_current_pid_tgid v 5 7 (dev, ino, nsdata, size);
    GetCurrentAncestorCgroupId = 123 get_current_ancestor_cgroup_id v 5 7 (ancestor_level);
    KtimeGetBootNs = 125 ktime_get_boot_ns v 5 8 ();
    SeqPrintf = 126 seq_printf v 5 8 (m, fmt, fmt_size, data, data_len);
    SeqWrite = 127 seq_write v 5 8 (m, data, len);
    RingbufOutput = 130 ringbuf_output v 5 8 (ringbuf, data, size, flags);
    RingbufReserve = 131 ringbuf_reserve v 5 8 (ringbuf, size, flags);
    RingbufSubmit = 132 ringbuf_submit v 5 8 (data, flags);
    RingbufDiscard = 133 ringbuf_discard v 5 8 (data, flags);
    RingbufQuery = 134 ringbuf_query v 5 8 (ringbuf, flags);
    SkcToTcp6Sock = 136 skc_to_tcp6_sock v 5 9 (sk);
    SkcToTcpSock = 137 skc_to_tcp_sock v 5 9 (sk);
    SkcToTcpTimewaitSock = 138 skc_to_tcp_timewait_sock v 5 9 (sk);
    SkcToTcpRequestSock = 139 skc_to_tcp_request_sock v 5 9 (sk);
    SkcToUdp6Sock = 140 skc_to_udp6_sock v 5 9 (sk);
    GetTaskStack = 141 get_task_stack v 5 9 (task, buf, size, flags);
    DPath = 147 d_path v 5 10 (path, buf, size);
    CopyFromUser = 148 copy_from_user v 5 10 (dst, size, user_ptr);
    SnprintfBtf = 149 snprintf_btf v 5 10 (str, str_size, ptr, btf_ptr_size, flags);
    SeqPrintfBtf = 150 seq_printf_btf v 5 10 (m, ptr, ptr_size, flags);
    PerCpuPtr = 153 per_cpu_ptr v 5 10 (percpu_ptr, cpu);
    ThisCpuPtr = 154 this_cpu_ptr v 5 10 (percpu_ptr);
    TaskStorageGet = 156 task_storage_get v 5 11 (map, task, value, flags);
    TaskStorageDelete = 157 task_storage_delete v 5 11 (map, task);
    GetCurrentTaskBtf = 158 get_current_task_btf v 5 11 ();
    KtimeGetCoarseNs = 160 ktime_get_coarse_ns v 5 11 ();
    SockFromFile = 162 sock_from_file v 5 11 (file);
    ForEachMapElem = 164 for_each_map_elem v 5 13 (map, callback, callback_ctx, flags);
    Snprintf = 165 snprintf v 5 13 (str, str_size, fmt, data, data_len);
    GetFuncIp = 173 get_func_ip v 5 15 (ctx);
    GetAttachCookie = 174 get_attach_cookie v 5 15 (ctx);
    TaskPtRegs = 175 task_pt_regs v 5 15 (task);
    GetBranchSnapshot = 176 get_branch_snapshot v 5 16 (entries, size, flags);
    TraceVprintk = 177 trace_vprintk v 5 16 (fmt, fmt_size, data, data_len);
    SkcToUnixSock = 178 skc_to_unix_sock v 5 16 (sk);
    KallsymsLookupName = 179 kallsyms_lookup_name v 5 16 (name, name_size, flags, res);
    FindVma = 180 find_vma v 5 17 (task, addr, callback, callback_ctx, flags);
    Loop = 181 loop v 5 17 (nr_loops, callback, callback_ctx, flags);
    Strncmp = 182 strncmp v 5 17 (s1, s1_size, s2);
    GetFuncArg = 183 get_func_arg v 5 17 (ctx, n, value);
    GetFuncRet = 184 get_func_ret v 5 17 (ctx, value);
    GetFuncArgCnt = 185 get_func_arg_cnt v 5 17 (ctx);
    CopyFromUserTask = 191 copy_from_user_task v 5 18 (dst, size, user_ptr, task, flags);
    KptrXchg = 194 kptr_xchg v 5 19 (dst, ptr);
    MapLookupPercpuElem = 195 map_lookup_percpu_elem v 5 19 (map, key, cpu);
    SkcToMptcpSock = 196 skc_to_mptcp_sock v 5 19 (sk);
    DynptrFromMem = 197 dynptr_from_mem v 5 19 (data, size, flags, ptr);
    RingbufReserveDynptr = 198 ringbuf_reserve_dynptr v 5 19 (ringbuf, size, flags, ptr);
    RingbufSubmitDynptr = 199 ringbuf_submit_dynptr v 5 19 (ptr, flags);
    RingbufDiscardDynptr = 200 ringbuf_discard_dynptr v 5 19 (ptr, flags);
    DynptrRead = 201 dynptr_read v 5 19 (dst, len, src, offset, flags);
    DynptrWrite = 202 dynptr_write v 5 19 (dst, offset, src, len, flags);
    DynptrData = 203 dynptr_data v 5 19 (ptr, offset, len);
    KtimeGetTaiNs = 208 ktime_get_tai_ns v 6 1 ();
    UserRingbufDrain = 209 user_ringbuf_drain v 6 1 (map, callback, ctx, flags);
    CgrpStorageGet = 210 cgrp_storage_get v 6 2 (map, cgroup, value, flags);
    CgrpStorageDelete = 211 cgrp_storage_delete v 6 2 (map, cgroup);
}

impl Helper {
    /// The table row of this helper.
    pub fn info(self) -> &'static HelperInfo {
        Self::by_id(self.id()).expect("every variant has a row")
    }

    /// The number that the `call` instruction carries.
    pub fn id(self) -> u32 {
        self as u32
    }

    /// Its name without the `bpf_` prefix.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// How many arguments it takes (0 to 5).
    pub fn arity(self) -> usize {
        self.info().params.len()
    }

    /// First kernel whose tracing programs may call it.
    pub fn since(self) -> KernelVersion {
        self.info().since
    }

    /// The row of the helper with this number, if a tracer may call it.
    pub fn by_id(id: u32) -> Option<&'static HelperInfo> {
        let row = TABLE.binary_search_by_key(&id, |row| row.helper.id()).ok()?;
        Some(&TABLE[row])
    }

    /// The helper with this name (no `bpf_` prefix).
    pub fn by_name(name: &str) -> Option<Helper> {
        TABLE.iter().find(|row| row.name == name).map(|row| row.helper)
    }

    /// All helpers in the order of their numbers.
    pub fn all() -> impl Iterator<Item = &'static HelperInfo> {
        TABLE.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_fit_the_call_convention() {
        let ids: Vec<u32> = Helper::all().map(|row| row.helper.id()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(Helper::all().all(|row| row.params.len() <= 5));
    }

    #[test]
    fn lookup_by_name_and_number_agree() {
        for row in Helper::all() {
            assert_eq!(Helper::by_name(row.name), Some(row.helper));
            assert_eq!(row.helper.info().name, row.name);
        }
        assert_eq!(Helper::by_name("no_such_helper"), None);
        assert!(Helper::by_id(0).is_none());
    }

    #[test]
    fn versions_compare_by_number_not_by_text() {
        assert!(Helper::DPath.since() > Helper::RingbufReserve.since());
        assert_eq!(Helper::Loop.since().to_string(), "5.17");
    }
}
