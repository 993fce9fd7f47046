//! interval and profile: the CPU clock as a perf event, on one CPU or on all.

use super::perf::{Event, TYPE_SOFTWARE};
use super::{Found, How};
use crate::context::Context;
use anyhow::{Context as _, Result, bail};
use btc_payload::probe::{Period, PeriodUnit};

/// `PERF_COUNT_SW_CPU_CLOCK`.
const CPU_CLOCK: u64 = 0;

/// Resolves the period.
pub fn expand(context: &Context<'_>, written: &str, period: &Period, everywhere: bool) -> Result<Vec<Found>> {
    let event = Event {
        kind: TYPE_SOFTWARE,
        config: CPU_CLOCK,
        period: nanoseconds(period.unit, context.number(period.count)?)?,
        one_cpu: !everywhere,
        // Timers are not about a process; the program itself filters, if at all.
        never_pid: !everywhere,
        ..Event::default()
    };
    Ok(vec![Found { probe: written.into(), function: written.into(), how: How::Perf(event) }])
}

/// Nanoseconds of a period. A frequency has a fixed period here: the kernel
/// does the same for clock events (kernel/events/core.c, perf_swevent_init_hrtimer).
fn nanoseconds(unit: PeriodUnit, count: u64) -> Result<u64> {
    let factor = match unit {
        PeriodUnit::Hertz if count == 0 || count > 1_000_000_000 => bail!("a frequency of {count} Hz is out of range"),
        PeriodUnit::Hertz => return Ok(1_000_000_000 / count),
        PeriodUnit::Seconds => 1_000_000_000,
        PeriodUnit::Milliseconds => 1_000_000,
        PeriodUnit::Microseconds => 1_000,
        PeriodUnit::Nanoseconds => 1,
    };
    let period = count.checked_mul(factor).filter(|&p| p <= i64::MAX as u64).context("the period is too long")?;
    if period == 0 {
        bail!("the period must be longer than nothing");
    }
    Ok(period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods() {
        assert_eq!(nanoseconds(PeriodUnit::Hertz, 99).unwrap(), 10_101_010);
        assert_eq!(nanoseconds(PeriodUnit::Milliseconds, 5).unwrap(), 5_000_000);
        assert!(nanoseconds(PeriodUnit::Hertz, 0).is_err());
        assert!(nanoseconds(PeriodUnit::Seconds, 0).is_err());
        assert!(nanoseconds(PeriodUnit::Seconds, u64::MAX).is_err());
    }
}
