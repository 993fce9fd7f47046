//! End-to-end cases: build each script, run its tracer, compare what it prints.
//!
//! `host::NAME` runs on this kernel and needs root; without root a case is only
//! built (`build::NAME`). `5.10::NAME` and so on run in virtual machines, see
//! `tests/vm`. What cannot run is counted, with the reason, at the end.
//!
//! BTC                path of the btc to test
//! BTC_TEST_KERNELS   kernels to run, or "none" (default: all there are)
//! BTC_ORACLE         check the cases instead, with an interpreter: "bpftrace {src}"
//! BTC_KERNEL_TABLE   write the table of probe kinds and kernels into this file
//! BTC_BLESS=1        record the output as expected (cases without .re)
#![allow(clippy::unwrap_used)] // test code

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock, mpsc};

use btc_tests::case::{self, Case, Mode, Needs};
use btc_tests::expected::Expected;
use btc_tests::matrix::{self, Job};
use btc_tests::process::{self, Outcome};
use btc_tests::script::{self, Subject};
use btc_tests::table::{self, Cell, Table};
use btc_tests::verdict::{Phase, judge, normal};
use btc_tests::{is_root, root, stage};
use libtest_mimic::{Arguments, Failed, Trial};

/// Emulated machines are slower: tracers by this factor, an LLVM by this.
const SLOWNESS: (u32, u32) = (3, 6);

/// What every trial needs.
struct Context {
    subject: Subject,
    expected: Expected,
    matrix: BTreeMap<String, Machine>,
    _stage: stage::Stage,
}

/// The cases of one kernel and, once it has run, their outcomes.
#[derive(Default)]
struct Machine {
    cases: Vec<Case>,
    result: OnceLock<BTreeMap<String, Result<(), String>>>,
}

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    // Cases trace one another's processes when they run side by side.
    args.test_threads.get_or_insert(1);
    match trials(&args) {
        Ok((context, trials, skipped)) => {
            let conclusion = libtest_mimic::run(&args, trials);
            if let Err(why) = write_table(&context) {
                eprintln!("cases: {why}");
                return ExitCode::FAILURE;
            }
            for (reason, count) in skipped {
                eprintln!("SKIPPED {count} cases: {reason}");
            }
            conclusion.exit_code()
        }
        Err(why) => {
            eprintln!("cases: {why}");
            ExitCode::FAILURE
        }
    }
}

type Skipped = BTreeMap<String, usize>;

/// Writes the table that `BTC_KERNEL_TABLE` asks for, from the machines that ran.
fn write_table(context: &Context) -> Result<(), String> {
    let Some(path) = std::env::var_os("BTC_KERNEL_TABLE") else { return Ok(()) };
    let mut table = Table::new();
    for case in case::all(&root().join("tests/cases"))? {
        let Some(kind) = case.name.strip_prefix(table::GROUP) else { continue };
        for (kernel, machine) in &context.matrix {
            let ran = machine.result.get().and_then(|done| done.get(&case.name));
            let cell = match ran {
                Some(Ok(())) => Cell::Works,
                Some(Err(_)) => Cell::Fails,
                None if !case.runs_on(kernel) => Cell::Needs(case.get("min_kernel").to_string()),
                None => continue,
            };
            table.entry(kind.to_string()).or_default().insert(kernel.clone(), cell);
        }
    }
    table::write(&root().join(path), &table)
}

fn trials(args: &Arguments) -> Result<(Arc<Context>, Vec<Trial>, Skipped), String> {
    let cases = case::all(&root().join("tests/cases"))?;
    let subject = Subject::from_env()?;
    let expected = match subject {
        Subject::Btc(_) => {
            let exists = |name: &str| cases.iter().any(|c| c.name == name);
            Expected::read(&root().join("tests/cases/EXPECTED_FAILURES"), exists)?
        }
        Subject::Oracle(_) => Expected::default(),
    };
    let mut skipped = Skipped::new();
    let mut skip = |reason: &str| *skipped.entry(reason.to_owned()).or_default() += 1;
    let (cases, unbuildable): (Vec<_>, Vec<_>) = cases.into_iter().partition(|c| c.unbuildable().is_none());
    unbuildable.iter().filter_map(Case::unbuildable).for_each(|reason| skip(&reason));
    let place = if is_root() { "host" } else { "build" };
    let mut host = Vec::new();
    for case in &cases {
        if let Some(reason) = subject.skips(case) {
            skip(reason);
        } else if is_root() && case.needs() != Needs::Vm {
            host.push(case.clone());
        } else if !is_root() && case.mode() != Mode::Tool && matches!(subject, Subject::Btc(_)) {
            host.push(case.clone());
            skip("not root, so only built");
        } else if !is_root() {
            skip("not root");
        }
    }
    let mut matrix: BTreeMap<String, Machine> = BTreeMap::new();
    match matrix::kernels() {
        Ok(kernels) => {
            for kernel in kernels {
                let wanted = |c: &&Case| c.needs() != Needs::Host && subject.skips(c).is_none();
                let (runs, not): (Vec<_>, Vec<_>) = cases.iter().filter(wanted).partition(|c| c.runs_on(&kernel));
                not.iter().for_each(|c| skip(&format!("needs Linux {}, not {kernel}", c.get("min_kernel"))));
                let chosen = runs.into_iter().filter(|c| chosen(args, &format!("{kernel}::{}", c.name)));
                matrix.insert(kernel.clone(), Machine { cases: chosen.cloned().collect(), ..Machine::default() });
            }
        }
        Err(reason) => {
            cases.iter().filter(|c| c.needs() != Needs::Host).for_each(|_| skip(&format!("no kernel matrix: {reason}")))
        }
    }
    let context = Arc::new(Context { subject, expected, matrix, _stage: stage::prepare()? });
    let mut trials: Vec<Trial> = host.into_iter().map(|case| host_trial(&context, place, case)).collect();
    for (kernel, machine) in &context.matrix {
        trials.extend(machine.cases.iter().map(|case| kernel_trial(&context, kernel, &case.name)));
    }
    Ok((context, trials, skipped))
}

/// Whether the command line selects a test; the machines run only those.
fn chosen(args: &Arguments, name: &str) -> bool {
    let matches = |filter: &String| {
        if args.exact { name == filter } else { name.contains(filter.as_str()) }
    };
    args.filter.as_ref().is_none_or(matches) && !args.skip.iter().any(matches)
}

fn host_trial(context: &Arc<Context>, place: &'static str, case: Case) -> Trial {
    let context = Arc::clone(context);
    Trial::test(format!("{place}::{}", case.name), move || {
        let attempts = match context.subject {
            Subject::Oracle(_) => case.get("retry").parse().unwrap_or(1),
            // A busy machine may keep a traced process from running for seconds;
            // what is wrong stays wrong.
            Subject::Btc(_) => 3,
        };
        let mut verdict = on_host(&context.subject, &case);
        for _ in 1..attempts {
            if verdict.is_ok() {
                break;
            }
            verdict = on_host(&context.subject, &case);
        }
        context.expected.settle(place, &case.name, verdict).map_err(Failed::from)
    })
}

fn on_host(subject: &Subject, case: &Case) -> Result<(), String> {
    if built(subject, case)? || !is_root() {
        return Ok(());
    }
    let got = process::shell(&script::perform(case, subject), case.timeout()).map_err(|e| e.to_string())?;
    bless(case, &got)?;
    judge(case, Phase::Run, &got).map(|_| ())
}

/// Writes the script and builds the tracer; true when that decides the case.
fn built(subject: &Subject, case: &Case) -> Result<bool, String> {
    let path = script::source_path(case);
    fs::write(&path, &case.script).map_err(|e| format!("{path}: {e}"))?;
    let Some(build) = script::build(case, subject) else {
        return Ok(false);
    };
    let got = process::shell(&build, 60).map_err(|e| e.to_string())?;
    judge(case, Phase::Build, &got)
}

fn bless(case: &Case, got: &Outcome) -> Result<(), String> {
    if std::env::var_os("BTC_BLESS").is_none() || case.re.is_some() || !case.get("lacks").is_empty() {
        return Ok(());
    }
    let text = match case.get("streams") {
        "stderr" => got.err.clone(),
        "both" => got.out.clone() + &got.err,
        _ => got.out.clone(),
    };
    let group = case.name.split('-').next().unwrap_or_default();
    let path = root().join(format!("tests/cases/{group}/{}.out", case.name));
    fs::write(&path, normal(&text, case.get("keep") == "attached") + "\n").map_err(|e| e.to_string())
}

fn kernel_trial(context: &Arc<Context>, kernel: &str, name: &str) -> Trial {
    let (context, kernel, name) = (Arc::clone(context), kernel.to_owned(), name.to_owned());
    Trial::test(format!("{kernel}::{name}"), move || {
        run_matrix(&context);
        let verdict = context.matrix[&kernel].result.get().unwrap()[&name].clone();
        context.expected.settle(&kernel, &name, verdict).map_err(Failed::from)
    })
}

/// Runs all machines, two at a time, the first time it is called.
fn run_matrix(context: &Arc<Context>) {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let mut tracers = BTreeMap::new();
        for case in context.matrix.values().flat_map(|m| &m.cases) {
            tracers.entry(case.name.clone()).or_insert_with(|| built(&context.subject, case));
        }
        let tracers = &tracers;
        let (queue, work) = mpsc::channel();
        context.matrix.iter().for_each(|item| queue.send(item).unwrap());
        drop(queue);
        let work = &std::sync::Mutex::new(work);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(move || {
                    loop {
                        let next = work.lock().unwrap().recv();
                        let Ok((kernel, machine)) = next else { break };
                        machine.result.set(run_machine(context, kernel, machine, tracers)).unwrap();
                    }
                });
            }
        });
    });
}

/// Runs the cases of one kernel, and once more in a fresh machine those that
/// failed and were not expected to: an emulated machine may be slow enough to
/// miss what a case waits for, but a wrong program fails again.
fn run_machine(
    context: &Context,
    kernel: &str,
    machine: &Machine,
    tracers: &BTreeMap<String, Result<bool, String>>,
) -> BTreeMap<String, Result<(), String>> {
    let mut all = boot(context, kernel, &machine.cases.iter().collect::<Vec<_>>(), tracers);
    let unexpected = |c: &&Case| all[&c.name].is_err() && context.expected.reason(kernel, &c.name).is_none();
    let again: Vec<&Case> = machine.cases.iter().filter(unexpected).collect();
    if !again.is_empty() {
        all.extend(boot(context, kernel, &again, tracers));
    }
    all
}

/// Boots a machine for some cases and judges what they printed.
fn boot(
    context: &Context,
    kernel: &str,
    cases: &[&Case],
    tracers: &BTreeMap<String, Result<bool, String>>,
) -> BTreeMap<String, Result<(), String>> {
    let slowness = if matches!(context.subject, Subject::Btc(_)) { SLOWNESS.0 } else { SLOWNESS.1 };
    let ready = cases.iter().filter(|c| tracers[&c.name] == Ok(false));
    let jobs: Vec<Job> = ready.map(|c| Job::new(c, script::perform(c, &context.subject), slowness)).collect();
    let (done, last_words) = matrix::run(kernel, &jobs);
    let verdict = |case: &Case| match (&tracers[&case.name], done.get(&case.name)) {
        (Err(why), _) => Err(why.clone()),
        (Ok(true), _) => Ok(()),
        (_, Some(got)) => judge(case, Phase::Run, got).map(|_| ()),
        (_, None) => Err(format!("the machine did not report this case: {last_words}")),
    };
    cases.iter().map(|case| (case.name.clone(), verdict(case))).collect()
}
