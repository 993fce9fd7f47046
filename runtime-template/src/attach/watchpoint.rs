//! Watchpoints: hardware breakpoints on an address.
//!
//! In: an address, or a function whose argument is one. Out: an event to open,
//! at once or when the address is known: another program, at the function's
//! entry, sends it (`Action::Watch`) and stops the process until the breakpoint
//! is set, except for asynchronous ones.

use super::perf::{self, Event, TYPE_BREAKPOINT};
use super::{Found, How};
use crate::context::Context;
use anyhow::{Context as _, Result, bail};
use btc_payload::probe::WatchTarget;
use std::os::fd::{BorrowedFd, IntoRawFd, RawFd};

/// First address of the kernel's half of the address space.
const KERNEL: u64 = 1 << 63;

/// In place of an address that a program will send.
pub const LATER: u64 = 0;

/// A watchpoint that waits for its address.
pub struct Waiting<'a> {
    /// Index into the manifest's programs.
    pub program: usize,
    /// The loaded program.
    pub loaded: BorrowedFd<'a>,
    /// What to open.
    pub event: Event,
    /// Attach cookie.
    pub cookie: u64,
}

impl Waiting<'_> {
    /// Sets the breakpoint in all threads of a process. The descriptors stay open
    /// as long as the tracer runs: what they hold can be switched off.
    pub fn set(&self, address: u64, pid: u32) -> Result<Vec<RawFd>> {
        let mut event = self.event.clone();
        if let Some((_, at, _)) = &mut event.breakpoint {
            *at = address;
        }
        let open = perf::attach(&event, Some(pid), self.loaded, self.cookie)
            .with_context(|| format!("cannot watch 0x{address:x}"))?;
        Ok(open.into_iter().map(IntoRawFd::into_raw_fd).collect())
    }
}

/// Resolves address, length and mode.
pub fn expand(context: &Context<'_>, written: &str, at: &WatchTarget, length: u32, mode: &str) -> Result<Vec<Found>> {
    let address = match at {
        WatchTarget::Argument { .. } => LATER,
        WatchTarget::Address(address) => match context.number(*address)? {
            LATER => bail!("address 0 cannot be watched"),
            address => address,
        },
    };
    if address < KERNEL && context.traced_pid().is_none() {
        bail!("a watchpoint on a user address needs a process: give -p PID or -c CMD");
    }
    // HW_BREAKPOINT_R, _W, _X of include/uapi/linux/hw_breakpoint.h.
    let bit = |letter, value: u32| if mode.contains(letter) { value } else { 0 };
    let kind = bit('r', 1) | bit('w', 2) | bit('x', 4);
    if kind == 0 || (kind & 4 != 0 && kind != 4) {
        bail!("a watchpoint's mode is one of r, w, rw, x, not `{mode}`");
    }
    // x86 counts reads only together with writes; execution wants the length of a long.
    let kind = if kind == 1 { 3 } else { kind };
    let length = if kind == 4 { size_of::<libc::c_long>() as u64 } else { u64::from(length) };
    let event = Event {
        kind: TYPE_BREAKPOINT,
        period: 1,
        always_pid: address < KERNEL,
        never_pid: address >= KERNEL,
        breakpoint: Some((kind, address, length)),
        ..Event::default()
    };
    Ok(vec![Found { probe: written.into(), function: written.into(), how: How::Perf(event) }])
}
