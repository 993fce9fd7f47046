//! The kernel matrix: one virtual machine per kernel runs all cases.
//!
//! Input: kernels and, for each, the cases with the scripts that perform them.
//! Output: an outcome per case. Booting is what costs, so a machine is booted
//! once and a driver script runs the cases in turn; everything comes back on its
//! standard output. When a guest dies, it is booted again without the culprit.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::case::{Case, STAGE};
use crate::process::{self, Outcome};
use crate::root;

/// Boots given to one kernel before the remaining cases are called lost.
const BOOTS: usize = 4;

/// The kernels to run: `$BTC_TEST_KERNELS`, or all that `tests/vm/kernels` has
/// or can fetch. The error says why there are none.
pub fn kernels() -> Result<Vec<String>, String> {
    match std::env::var("BTC_TEST_KERNELS") {
        Ok(list) if list.trim() == "none" => return Err("BTC_TEST_KERNELS=none".into()),
        Ok(list) => return Ok(list.split_whitespace().map(str::to_owned).collect()),
        Err(_) => {}
    }
    if !crate::is_root() {
        return Err("not root".into());
    }
    let tool = root().join("tests/vm/kernels");
    let fetch = process::run(&mut Command::new(&tool)).map_err(|e| format!("{}: {e}", tool.display()))?;
    let list = process::run(Command::new(&tool).arg("-l")).map_err(|e| e.to_string())?;
    let there: Vec<String> = list.out.lines().filter_map(|l| l.split_whitespace().next()).map(str::to_owned).collect();
    if there.is_empty() {
        return Err(format!("no kernels: {}", fetch.err.trim()));
    }
    Ok(there)
}

/// A case ready to run in a machine.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// The shell script that performs it.
    pub script: String,
    /// Seconds it may take; emulation is slow, so more than on this machine.
    pub timeout: u32,
}

impl Job {
    /// A job for `case`; `slowness` stretches its time limit.
    pub fn new(case: &Case, script: String, slowness: u32) -> Self {
        Self { name: case.name.clone(), script, timeout: case.timeout() * slowness }
    }

    /// Lines of the driver script: run, then print status and output as hex.
    fn driver_lines(&self) -> String {
        let Job { name, script, timeout } = self;
        let hex = |file: &str| format!("$(od -An -v -tx1 {file} | tr -d ' \\n')");
        format!(
            "echo; echo '@@START {name}'\ntimeout -k 5 {timeout} sh -c {} >/tmp/out 2>/tmp/err </dev/null; rc=$?\n\
             echo; echo \"@@CASE {name} $rc {} . {}\"\n",
            process::quote(script),
            hex("/tmp/out"),
            hex("/tmp/err")
        )
    }
}

/// Runs `jobs` on `kernel`. A case that is missing from the result was lost with
/// its machine; the text says what the machine said last.
pub fn run(kernel: &str, jobs: &[Job]) -> (BTreeMap<String, Outcome>, String) {
    let mut done = BTreeMap::new();
    let mut left: Vec<&Job> = jobs.iter().collect();
    let mut last_words = String::new();
    for _ in 0..BOOTS {
        if left.is_empty() {
            break;
        }
        let log = match boot(kernel, &left) {
            Ok(log) => log,
            Err(why) => return (done, why),
        };
        let started = parse(&log.out, &mut done);
        last_words = log.err;
        left.retain(|job| !done.contains_key(&job.name));
        if log.status == 0 {
            break;
        }
        // The case that was running when the guest died is the culprit.
        left.retain(|job| started.as_deref() != Some(&job.name));
    }
    (done, last_words)
}

fn boot(kernel: &str, jobs: &[&Job]) -> Result<Outcome, String> {
    let driver = format!("{STAGE}/work/driver-{kernel}.sh");
    let mut text = format!("mkdir -p {STAGE}/work\ncd {STAGE}/work\n");
    text.extend(jobs.iter().map(|job| job.driver_lines()));
    fs::write(&driver, text).map_err(|e| format!("{driver}: {e}"))?;
    let limit = 120 + jobs.iter().map(|job| u64::from(job.timeout)).sum::<u64>();
    let mut vm = Command::new(root().join("tests/vm/vm"));
    // One processor: with two, emulated kernels crash while they rewrite their own code for probes.
    vm.args(["-k", kernel, "-c", "1", "-m", "2G", "-t", &limit.to_string(), "--", "sh", &driver]);
    // A file, so that a run of many minutes can be watched.
    let log = format!("{STAGE}/work/vm-{kernel}.log");
    let file = fs::File::create(&log).map_err(|e| format!("{log}: {e}"))?;
    let mut outcome = process::run(vm.stdout(file)).map_err(|e| format!("tests/vm/vm: {e}"))?;
    outcome.out = String::from_utf8_lossy(&fs::read(&log).map_err(|e| format!("{log}: {e}"))?).into_owned();
    Ok(outcome)
}

/// Reads what the driver printed; returns the case that started last.
fn parse(log: &str, done: &mut BTreeMap<String, Outcome>) -> Option<String> {
    let mut started = None;
    for line in log.lines() {
        if let Some(name) = line.strip_prefix("@@START ") {
            started = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("@@CASE ") {
            let (head, err) = rest.split_once(" .").unwrap_or((rest, ""));
            let mut words = head.split_whitespace();
            let (Some(name), Some(status)) = (words.next(), words.next()) else {
                continue;
            };
            let outcome = Outcome {
                status: status.parse().unwrap_or(-1),
                out: unhex(words.next().unwrap_or_default()),
                err: unhex(err.trim()),
                wall: Duration::ZERO,
            };
            done.insert(name.to_owned(), outcome);
        }
    }
    started
}

fn unhex(text: &str) -> String {
    let digits: Vec<u8> = text.bytes().filter_map(|b| (b as char).to_digit(16)).map(|d| d as u8).collect();
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_driver_prints() {
        let mut done = BTreeMap::new();
        let log = "noise\n@@START a\n\n@@CASE a 0 68690a . \n@@START b\n@@CASE b 124  . 6f6f\n@@START c\n";
        assert_eq!(parse(log, &mut done).as_deref(), Some("c"));
        assert_eq!(done["a"].out, "hi\n");
        assert_eq!((done["b"].status, done["b"].out.as_str(), done["b"].err.as_str()), (124, "", "oo"));
        assert_eq!(done.len(), 2);
    }
}
