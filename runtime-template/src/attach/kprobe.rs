//! Kernel functions through kprobes: many at once where the kernel can
//! (kprobe.multi), else one perf event each.

use super::{Found, How, Place};
use crate::context::Context;
use crate::sys::{self, PERF_DISABLED, PerfAttr};
use crate::target::functions;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use btc_payload::probe::{Text, is_pattern};
use libbpf_rs::libbpf_sys as bpf;
use std::ffi::CString;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// The kernel itself, among modules.
const KERNEL: &str = "vmlinux";

/// Flag of kprobe.multi: at the return.
const MULTI_RETURN: u32 = 1;

/// Matches functions; a plain name is left to the kernel to find.
pub fn expand(
    context: &Context<'_>,
    ret: bool,
    module: Option<&Text>,
    function: &Text,
    offset: u64,
) -> Result<Vec<Found>> {
    let kind = if ret { "kretprobe" } else { "kprobe" };
    let module = module.map(|m| context.text(m)).transpose()?;
    let function = context.text(function)?;
    let prefix = module.as_ref().map(|m| format!("{m}:")).unwrap_or_default();
    let suffix = if offset == 0 { String::new() } else { format!("+{offset}") };
    if !is_pattern(&function) && !module.as_deref().is_some_and(is_pattern) {
        let symbol = match module.as_deref() {
            None => function.clone(),
            Some(KERNEL) => match in_kernel(&function) {
                Some(symbol) => symbol,
                None => return Ok(Vec::new()),
            },
            Some(m) => format!("{m}:{function}"),
        };
        let probe = format!("{kind}:{prefix}{function}{suffix}");
        return Ok(vec![Found { probe, function, how: How::Kprobe { ret, symbol, offset } }]);
    }
    let found = functions::matching(module.as_deref(), &function, context.options.traceable.as_deref())?;
    Ok(found
        .into_iter()
        .map(|f| Found {
            probe: match &module {
                Some(_) => format!("{kind}:{}:{}{suffix}", f.module, f.name),
                None => format!("{kind}:{}{suffix}", f.name),
            },
            function: f.name.clone(),
            how: How::Kprobe {
                ret,
                symbol: if f.module == KERNEL { f.name } else { format!("{}:{}", f.module, f.name) },
                offset,
            },
        })
        .collect())
}

/// What the kernel's own function of a name is found by: its name, or its address
/// where modules have the name, too. None: only modules have it.
fn in_kernel(name: &str) -> Option<String> {
    let (mut own, mut others) = (None, false);
    let _ = functions::each_kernel_symbol(&mut |address, _, symbol, module| {
        if symbol == name {
            match module {
                KERNEL => own = own.or(Some(address)),
                _ => others = true,
            }
        }
        true
    });
    match own {
        // 0: addresses are hidden.
        Some(address) if others && address != 0 => Some(format!("0x{address:x}")),
        None if others => None,
        // What is missing altogether is explained when it is attached.
        _ => Some(name.to_string()),
    }
}

/// A fixed address.
pub fn at_address(written: &str, address: u64) -> Found {
    let how = How::Kprobe { ret: false, symbol: format!("0x{address:x}"), offset: 0 };
    Found { probe: written.into(), function: format!("0x{address:x}"), how }
}

/// Attaches to one function.
pub fn attach(ret: bool, symbol: &str, offset: u64, program: BorrowedFd<'_>, cookie: u64) -> Result<Vec<OwnedFd>> {
    Ok(sys::attach_perf(program, open(ret, symbol, offset)?, cookie)?)
}

/// Makes a probe that does not fire yet.
pub fn open(ret: bool, symbol: &str, offset: u64) -> Result<OwnedFd> {
    let name = CString::new(symbol).context("the name holds a NUL")?;
    let (config1, config2) = match symbol.strip_prefix("0x").and_then(|h| u64::from_str_radix(h, 16).ok()) {
        Some(address) => (0, address.wrapping_add(offset)),
        None => (name.as_ptr() as u64, offset),
    };
    let attr = PerfAttr {
        kind: pmu_type("kprobe")?,
        config: u64::from(ret),
        config1,
        config2,
        flags: PERF_DISABLED,
        ..PerfAttr::default()
    };
    sys::perf_event_open(attr, -1, 0).map_err(|e| explain(symbol, e))
}

/// Attaches to some places of a unit with one link.
pub fn attach_multi(places: &[Place], program: BorrowedFd<'_>, cookies: bool) -> Result<Vec<OwnedFd>> {
    let (mut symbols, mut names, mut ids, mut at_return) = (Vec::new(), Vec::new(), Vec::new(), false);
    for place in places {
        let How::Kprobe { ret, symbol, .. } = &place.how else { bail!("not a kernel function") };
        at_return = *ret;
        symbols.push(symbol.as_str());
        names.push(CString::new(symbol.as_str()).context("the name holds a NUL")?);
        ids.push(place.id);
    }
    let mut pointers: Vec<_> = names.iter().map(|n| n.as_ptr()).collect();
    let addresses = addresses(&symbols)?;
    let by_name = addresses.is_empty();
    let mut opts = sys::link_options();
    opts.__bindgen_anon_1.kprobe_multi = bpf::bpf_link_create_opts__bindgen_ty_1__bindgen_ty_2 {
        flags: if at_return { MULTI_RETURN } else { 0 },
        cnt: pointers.len() as u32,
        syms: if by_name { pointers.as_mut_ptr() } else { std::ptr::null_mut() },
        addrs: if by_name { std::ptr::null() } else { addresses.as_ptr() },
        cookies: if cookies { ids.as_ptr() } else { std::ptr::null() },
    };
    let link = sys::link_create(program, 0, bpf::BPF_TRACE_KPROBE_MULTI, &opts)
        .context("the kernel refuses one of these functions")?;
    Ok(vec![link])
}

/// Addresses of functions if any is a module's: links know names without modules only, and
/// take the kernel's own of a name. Empty: names do.
fn addresses(symbols: &[&str]) -> Result<Vec<libc::c_ulong>> {
    let mut functions = Vec::with_capacity(symbols.len());
    for symbol in symbols {
        functions.push(symbol.split_once(':').map_or((*symbol, KERNEL), |(module, name)| (name, module)));
    }
    if functions.iter().all(|f| f.1 == KERNEL) {
        return Ok(Vec::new());
    }
    let mut found = vec![0; functions.len()];
    functions::each_kernel_symbol(&mut |address, _, name, module| {
        // Matches are sorted. The first of several counts.
        if let Ok(place) = functions.binary_search(&(name, module))
            && found[place] == 0
        {
            found[place] = address;
        }
        true
    })?;
    ensure!(!found.contains(&0), "/proc/kallsyms has not all addresses");
    Ok(found)
}

/// Number of a dynamic PMU.
pub fn pmu_type(name: &str) -> Result<u32> {
    let path = format!("/sys/bus/event_source/devices/{name}/type");
    let text = std::fs::read_to_string(&path)
        .map_err(|_| anyhow!("this kernel has no {name}s (built without CONFIG_{}_EVENTS)", name.to_uppercase()))?;
    text.trim().parse().with_context(|| format!("{path} holds no number"))
}

/// What the errors of perf_event_open mean for kprobes.
fn explain(symbol: &str, error: io::Error) -> anyhow::Error {
    let name = symbol.rsplit(':').next().unwrap_or(symbol);
    let number = error.raw_os_error();
    let found = match number {
        // `name.isra.0` and the like.
        Some(libc::ENOENT) => symbols(|_, s| s.strip_prefix(name)?.starts_with('.').then(|| s.to_string())),
        Some(libc::EADDRNOTAVAIL | libc::EINVAL) => symbols(|at, s| (s == name).then(|| format!("kprobe:0x{at:x}"))),
        _ => String::new(),
    };
    let why = match number {
        Some(libc::ENOENT) if !found.is_empty() => "the compiler made other functions of it: ",
        Some(libc::ENOENT) => "the function does not exist (it may be inlined, or in a module that is not loaded)",
        Some(libc::EADDRNOTAVAIL) => {
            "several functions have this name; with --unsafe one can be probed by its address: "
        }
        Some(libc::EINVAL) if is_blocked(name) => "it is on the kernel's list of what must not be probed",
        // Kernels before 6.7 take the first.
        Some(libc::EINVAL) if found.contains(',') => {
            "several functions have this name, and the first cannot be traced; with --unsafe one can be probed \
             by its address: "
        }
        Some(libc::EINVAL) => "the kernel does not let it be traced (notrace)",
        Some(libc::EILSEQ) => "the offset is not at the start of an instruction",
        Some(libc::EACCES | libc::EPERM) => "no privileges; run as root, or with CAP_BPF and CAP_PERFMON",
        _ => "the kernel refuses it",
    };
    let found = if why.ends_with(' ') { &*found } else { "" };
    anyhow!("{symbol}: {why}{found} ({error})")
}

/// Most names or addresses that a message shows.
const SHOWN: usize = 8;

/// Kernel symbols as a message shows them.
fn symbols(mut pick: impl FnMut(u64, &str) -> Option<String>) -> String {
    let mut found = Vec::new();
    let _ = functions::each_kernel_symbol(&mut |address, _, symbol, _| {
        found.extend(pick(address, symbol));
        found.len() < SHOWN
    });
    found.join(", ")
}

/// Lines are `START-END<tab>NAME` (kernel/kprobes.c).
fn is_blocked(name: &str) -> bool {
    let list = std::fs::read_to_string("/sys/kernel/debug/kprobes/blacklist").unwrap_or_default();
    list.lines().any(|l| l.split_whitespace().nth(1) == Some(name))
}
