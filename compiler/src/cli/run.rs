//! `btc run`: builds a script to a temporary file and runs it.
//!
//! In: bpftrace's options with bpftrace's meaning. Those of the compilation are
//! taken here, the others are handed to the tracer. Out: the tracer, which takes
//! the place of btc: signals and process ids are its own.

use super::{FAILED, ScriptArgs, finish, request};
use crate::driver::{self, Btf, Emit};
use crate::link;
use anyhow::{Context, Result, bail};
use clap::{Args, Parser};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

#[derive(Args)]
#[command(disable_help_flag = true)]
pub(super) struct RunArgs {
    /// Options of btc and of the tracer, the script, its parameters.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

/// Options of `btc run` that belong to the compilation and take a value.
pub(super) const COMPILE_VALUES: &[&str] = &["-e", "-I", "--include", "--config", "--btf", "--debuginfo"];

/// Options about bpftrace's own insides, which change nothing here.
pub(super) const IGNORED: &[&str] = &["--verify-llvm-ir"];

/// Options of the tracer that take a value.
pub(super) const RUN_VALUES: &[&str] = &[
    "-f",
    "--format",
    "-o",
    "--output",
    "-B",
    "--buffering",
    "-p",
    "--pid",
    "-c",
    "--cmd",
    "--map",
    "--probe-filter",
    "--no-feature",
    "--traceable-functions",
    "--dwarf-pid",
];

/// Options of the tracer without a value.
pub(super) const RUN_FLAGS: &[&str] = &[
    "-q",
    "--quiet",
    "-k",
    "--warnings",
    "--usdt-file-activation",
    "--wait-detach",
    "--dry-run",
    "--about",
    "--source",
    "--check",
];

/// Arguments still to be looked at.
struct Words(VecDeque<OsString>);

impl Iterator for Words {
    type Item = OsString;

    fn next(&mut self) -> Option<OsString> {
        self.0.pop_front()
    }
}

/// Letters that share a dash, as options of their own: `-ve X`, `-fjson`. `None` for
/// what is no such word, and for numbers.
fn letters(word: &str) -> Option<Vec<String>> {
    let body = word.strip_prefix('-').filter(|b| b.len() > 1 && b.is_ascii() && *word != *"-kk")?;
    if !body.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let mut out = Vec::new();
    for (at, letter) in body.char_indices() {
        let option = format!("-{letter}");
        let valued = COMPILE_VALUES.contains(&option.as_str()) || RUN_VALUES.contains(&option.as_str());
        out.push(option);
        if valued {
            let value = &body[at + 1..];
            out.extend((!value.is_empty()).then(|| value.to_string()));
            break;
        }
    }
    Some(out)
}

/// Splits the arguments of `btc run` into those of the compilation, the script
/// and those of the tracer.
fn split_run_args(args: Vec<OsString>) -> Result<(Vec<OsString>, Option<PathBuf>, Vec<OsString>)> {
    let (mut compile, mut tracer, mut file) = (Vec::new(), Vec::new(), None);
    let mut args = Words(args.into());
    let mut inline = false;
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy().into_owned();
        if let Some(words) = letters(&text) {
            words.into_iter().rev().for_each(|w| args.0.push_front(w.into()));
            continue;
        }
        let option = text.split('=').next().unwrap_or("").to_string();
        let joined = text.contains('=') && text.starts_with("--");
        if text == "--" {
            tracer.push(arg);
            tracer.extend(args);
            break;
        } else if COMPILE_VALUES.contains(&option.as_str()) {
            inline |= option == "-e";
            let mut words = vec![arg];
            if !joined {
                words.push(args.next().with_context(|| format!("{option} needs a value"))?);
            }
            // Arguments are looked up while compiling, source lines at run time.
            if option == "--debuginfo" {
                tracer.extend(words.iter().cloned());
            }
            compile.extend(words);
        } else if IGNORED.contains(&text.as_str()) {
        } else if matches!(text.as_str(), "--test" | "--bench") {
            compile.push(arg);
        } else if option == "--mode" {
            let mode = if joined { None } else { args.next().map(|a| a.to_string_lossy().into_owned()) };
            let mode = mode.unwrap_or_else(|| text["--mode".len()..].trim_start_matches('=').to_string());
            compile.push(format!("--{mode}").into());
        } else if matches!(text.as_str(), "--unsafe" | "--no-warnings") {
            compile.push(arg.clone());
            tracer.push(arg);
        } else if RUN_VALUES.contains(&option.as_str()) {
            tracer.push(arg);
            if !joined {
                tracer.push(args.next().with_context(|| format!("{option} needs a value"))?);
            }
        } else if text.starts_with('-') && text != "-" {
            tracer.push(arg);
        } else if file.is_none() && !inline {
            file = Some(PathBuf::from(arg));
        } else {
            // Parameters of the script end the options, as bpftrace has it.
            tracer.push(arg);
            tracer.extend(args);
            break;
        }
    }
    Ok((compile, file, tracer))
}

/// The values of `$1`, `$2`, ... among the tracer's arguments.
fn parameters(args: &[OsString]) -> Vec<String> {
    let mut found = Vec::new();
    let mut args = args.iter().map(|a| a.to_string_lossy().into_owned());
    let mut own = true;
    while let Some(arg) = args.next() {
        let option = arg.starts_with('-') && arg.len() > 1 && !arg[1..].starts_with(|c: char| c.is_ascii_digit());
        if own && arg == "--" {
            own = false;
        } else if own && RUN_VALUES.contains(&arg.as_str()) {
            args.next();
        } else if !option {
            found.push(arg);
        } else if !own && !arg.contains('=') {
            // The script tells whether the next one is the value of this option.
            break;
        }
    }
    found
}

/// As `ScriptArgs`, for the part of `btc run`'s arguments that is ours.
#[derive(Parser)]
#[command(name = "btc run")]
struct RunScript {
    #[command(flatten)]
    script: ScriptArgs,
}

/// `btc run`, and bpftrace's way to run a script.
pub(super) fn run(args: RunArgs) -> Result<ExitCode> {
    let (compile, file, tracer) = split_run_args(args.args)?;
    let script = RunScript::parse_from(std::iter::once(OsString::from("btc run")).chain(compile)).script;
    if file.is_none() && script.program.is_none() {
        bail!("name a script, or give the program with -e\nusage: btc run [options] FILE|-e PROGRAM [parameters]");
    }
    let mut request = request(&script, file.as_deref())?;
    if script.btf.is_empty() {
        request.btf = Btf::Running;
    }
    request.parameters = parameters(&tracer);
    let done = driver::compile(&request, Emit::Exe);
    let Some(bytes) = finish(done, script.no_warnings)? else { return Ok(ExitCode::from(FAILED)) };
    exec(&bytes, tracer)
}

/// Runs an executable in place of this process, so that it has our process id, our
/// parent and our signals, as an interpreter would have. It is in a file that has
/// no name any more when it runs: nothing is left behind, however it ends.
fn exec(bytes: &[u8], args: Vec<OsString>) -> Result<ExitCode> {
    let written = tempfile::Builder::new().prefix("btc-run-").tempfile().context("cannot create a temporary file")?;
    link::write_executable(written.path(), bytes)?;
    let path = written.path().to_path_buf();
    // Read only, because a file that is open for writing cannot be run.
    let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    drop(written);
    let name = std::env::args_os().next().unwrap_or_else(|| "btc".into());
    let failed = Command::new(format!("/proc/self/fd/{}", file.as_raw_fd())).arg0(name).args(args).exec();
    Err(failed).with_context(|| format!("cannot run {}; TMPDIR names another place for it", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(args: &[&str]) -> (Vec<String>, Option<PathBuf>, Vec<String>) {
        let (c, f, t) = split_run_args(args.iter().map(OsString::from).collect()).unwrap();
        let strings = |v: Vec<OsString>| v.into_iter().map(|s| s.into_string().unwrap()).collect();
        (strings(c), f, strings(t))
    }

    #[test]
    fn run_arguments_are_shared_out() {
        let (c, f, t) = split(&["-e", "BEGIN {}", "-c", "ls -l", "-I", "inc", "-q", "1", "--", "--x=2"]);
        assert_eq!(c, ["-e", "BEGIN {}", "-I", "inc"]);
        assert_eq!(f, None);
        assert_eq!(t, ["-c", "ls -l", "-q", "1", "--", "--x=2"]);
        let (_, f, t) = split(&["-v", "--verify-llvm-ir", "x.bt", "-5"]);
        assert_eq!((f, t), (Some(PathBuf::from("x.bt")), vec!["-v".to_string(), "-5".into()]));
        let (c, _, t) = split(&["-vqe", "-e", "-fjson", "-kk", "-Iinc", "-5"]);
        assert_eq!(c, ["-e", "-e", "-I", "inc"]);
        assert_eq!(t, ["-v", "-q", "-f", "json", "-kk", "-5"]);
        let args = ["-q", "a", "-o", "file", "-5", "--map=@x=1", "b", "--", "c"].map(OsString::from);
        assert_eq!(parameters(&args), ["a", "-5", "b", "c"]);
        let args = ["-q", "a", "--", "b", "--x=2", "-3", "--flag", "c"].map(OsString::from);
        assert_eq!(parameters(&args), ["a", "b", "-3"]);
    }
}
