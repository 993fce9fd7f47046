//! `test:` and `bench:` probes, in a tracer that was built for them.
//!
//! In: a loaded script whose probes are tests or benchmarks; nothing is
//! attached. Out: a report on standard output, and the exit status. A test fails
//! when it returns another value than zero, or ends the script with a status.

use crate::attach::Unit;
use crate::load::Loaded;
use crate::poll::Tracer;
use crate::render::json;
use crate::sys;
use anyhow::{Context as _, Result};
use btc_payload::probe::AttachPoint;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// How long a benchmark runs.
const BENCH_TIME: Duration = Duration::from_millis(200);

/// Runs between two looks at the clock.
const BATCH: u64 = 1000;

/// The name of a test or benchmark, and which it is.
fn name<'a>(tracer: &Tracer<'a>, unit: &Unit) -> Option<(&'a str, bool)> {
    match &tracer.actions.context.manifest.programs[unit.program].attach {
        AttachPoint::Test { name } => Some((name, false)),
        AttachPoint::Bench { name } => Some((name, true)),
        _ => None,
    }
}

/// Runs all tests or benchmarks, if the tracer was built for them.
pub fn run(tracer: &mut Tracer<'_>, loaded: &Loaded) -> Result<Option<i32>> {
    let plan = tracer.plan;
    let found: Vec<_> = plan.units.iter().filter_map(|u| Some((u, name(tracer, u)?))).collect();
    let Some((_, (_, bench))) = found.first() else { return Ok(None) };
    let context = tracer.actions.context;
    let say = |tracer: &mut Tracer<'_>, text: String| {
        tracer.actions.output.buffer.extend_from_slice(text.as_bytes());
        tracer.actions.output.flush();
    };
    let is_json = tracer.actions.renderer.is_json();
    if *bench {
        // At the end, so that what the script prints does not come in between.
        let mut report = String::new();
        if !is_json {
            report = format!("{:<41}{:<15}Iterations\n{}\n", "Benchmark", "Time(ns)", "-".repeat(66));
        }
        for (unit, (name, _)) in &found {
            let (time, runs) = measure(tracer, loaded.program(context, unit)?)?;
            report += &match is_json {
                true => result("benchmark_result", name, &format!("\"average\": {time}, \"iters\": {runs}")),
                false => format!("{name:<41}{time:<15}{runs}\n"),
            };
        }
        say(tracer, report);
        return Ok(Some(0));
    }
    let say = |tracer: &mut Tracer<'_>, text: String| {
        if !is_json {
            say(tracer, text);
        }
    };
    say(tracer, format!("[==========] Running {} tests.\n", found.len()));
    let mut failed = Vec::new();
    for (unit, (name, _)) in &found {
        say(tracer, format!("[ RUN      ] {name}\n"));
        let start = Instant::now();
        let value = sys::test_run(loaded.program(context, unit)?).context("cannot run the test")?;
        let time = start.elapsed().as_micros();
        tracer.drain();
        let status = tracer.actions.exit.take().unwrap_or(0);
        let good = value == 0 && status == 0;
        if is_json {
            let mut output = Vec::new();
            json::push_string(&mut output, &std::mem::take(&mut tracer.actions.output.buffer));
            let output = String::from_utf8_lossy(&output);
            let line = format!("\"duration\": {time}, \"passed\": {good}, \"output\": {output}");
            tracer.actions.output.buffer = result("test_result", name, &line).into_bytes();
            tracer.actions.output.flush();
        }
        let verdict = if good { "[       OK ]" } else { "[  FAILED  ]" };
        say(tracer, format!("{verdict} {name} ({time} μs)\n"));
        failed.extend((!good).then_some(*name));
    }
    let tests = |n: usize| format!("{n} test{}", if n == 1 { "" } else { "s" });
    let mut end = format!("[==========] {} ran.\n", tests(found.len()));
    end += &format!("[  PASSED  ] {}.\n", tests(found.len() - failed.len()));
    if !failed.is_empty() {
        end += &format!("[  FAILED  ] {}, listed below:\n", tests(failed.len()));
        failed.iter().for_each(|name| end += &format!("[  FAILED  ] {name}\n"));
    }
    say(tracer, end);
    Ok(Some(i32::from(!failed.is_empty())))
}

/// A line of JSON about one test or benchmark.
fn result(kind: &str, name: &str, values: &str) -> String {
    format!("{{\"type\": \"{kind}\", \"data\": {{\"{name}\": {{{values}}}}}}}\n")
}

/// Nanoseconds of a run as the kernel counts them, and how many runs there were.
fn measure(tracer: &mut Tracer<'_>, program: BorrowedFd<'_>) -> Result<(u64, u64)> {
    let _stats = sys::count_run_time().context("the kernel does not count run time (Linux 5.8)")?;
    let start = Instant::now();
    while start.elapsed() < BENCH_TIME {
        for _ in 0..BATCH {
            sys::test_run(program).context("cannot run the benchmark")?;
        }
        tracer.drain();
    }
    tracer.actions.exit = None;
    let (time, runs) = sys::run_time(program.as_raw_fd()).context("cannot read the run time")?;
    Ok((time.checked_div(runs).unwrap_or(0), runs))
}
