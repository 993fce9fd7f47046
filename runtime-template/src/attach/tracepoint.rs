//! Tracepoints, by id from tracefs.

use super::{Found, How};
use crate::context::Context;
use crate::sys::{self, PERF_DISABLED, PerfAttr};
use crate::target::tracefs;
use anyhow::{Context as _, Result};
use btc_payload::probe::Text;
use std::os::fd::{BorrowedFd, OwnedFd};

/// `PERF_TYPE_TRACEPOINT`.
const TYPE_TRACEPOINT: u32 = 2;

/// Matches category and event against tracefs.
pub fn expand(context: &Context<'_>, category: &Text, event: &Text) -> Result<Vec<Found>> {
    let found = tracefs::matching(&context.text(category)?, &context.text(event)?)?;
    Ok(found
        .into_iter()
        .map(|(category, event)| Found {
            probe: format!("tracepoint:{category}:{event}"),
            function: event.clone(),
            how: How::Tracepoint { category, event },
        })
        .collect())
}

/// Attaches; one event on any CPU and without a process serves all (the
/// program hangs on the tracepoint, not on the event).
pub fn attach(category: &str, event: &str, program: BorrowedFd<'_>, cookie: u64) -> Result<Vec<OwnedFd>> {
    let config = tracefs::id(category, event)?;
    let attr =
        PerfAttr { kind: TYPE_TRACEPOINT, config, sample_period: 1, flags: PERF_DISABLED, ..PerfAttr::default() };
    let fd = sys::perf_event_open(attr, -1, 0).context("the tracepoint cannot be opened")?;
    Ok(sys::attach_perf(program, fd, cookie)?)
}
