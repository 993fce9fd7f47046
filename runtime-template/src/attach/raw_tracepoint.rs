//! Raw tracepoints: the tracepoint's own arguments, without a record.

use super::{Found, How};
use crate::context::Context;
use crate::sys;
use anyhow::{Context as _, Result};
use btc_payload::probe::{Text, is_pattern, pattern_matches};
use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Patterns are matched against the tracepoints that BTF describes.
pub fn expand(context: &Context<'_>, module: Option<&Text>, event: &Text) -> Result<Vec<Found>> {
    let event = context.text(event)?;
    let module = module.map(|m| context.text(m)).transpose()?;
    let names = if is_pattern(&event) {
        context.btf()?.raw_tracepoints().into_iter().filter(|n| pattern_matches(&event, n)).collect()
    } else {
        vec![event]
    };
    let prefix = module.map(|m| format!("{m}:")).unwrap_or_default();
    Ok(names
        .into_iter()
        .map(|event| Found {
            probe: format!("rawtracepoint:{prefix}{event}"),
            function: event.clone(),
            how: How::RawTracepoint { event },
        })
        .collect())
}

/// Attaches.
pub fn attach(event: &str, program: BorrowedFd<'_>) -> Result<Vec<OwnedFd>> {
    let name = CString::new(event).context("the name holds a NUL")?;
    let fd = sys::raw_tracepoint_open(program, Some(&name))
        .context("this kernel has no such raw tracepoint; its module may not be loaded")?;
    Ok(vec![fd])
}
