//! Watchpoints: hardware breakpoints on an address. None of them stops the
//! process, so those called asynchronous are the same.

use super::perf::{Event, TYPE_BREAKPOINT};
use super::{Found, How};
use crate::context::Context;
use anyhow::{Result, bail};
use btc_payload::probe::WatchTarget;

/// First address of the kernel's half of the address space.
const KERNEL: u64 = 1 << 63;

/// Resolves address, length and mode.
pub fn expand(context: &Context<'_>, written: &str, at: &WatchTarget, length: u32, mode: &str) -> Result<Vec<Found>> {
    let WatchTarget::Address(address) = at else {
        bail!("watchpoints on function arguments are not supported by this version; give an address")
    };
    let address = context.number(*address)?;
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
