//! The command line of btc.
//!
//! In: arguments. Out: what the driver makes of them, on disk or run, or a
//! list. A command line that begins with one of btc's own verbs is btc's; any
//! other, which begins with an option or a file, is bpftrace's (`compat`).

mod build;
mod compat;
mod doc;
mod host;
mod inspect;
mod list;
mod run;

use crate::diagnostic::{Severity, render};
use crate::driver::{Btf, Compilation, Failure, Request};
use crate::sema::{Purpose, config};
use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Exit status when the script or the command line is wrong.
const FAILED: u8 = 1;

/// Compiles bpftrace scripts into standalone executables.
#[derive(Parser)]
#[command(name = "btc", version, about, long_about = None)]
struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build a script into one executable file.
    Build(build::BuildArgs),
    /// Build a script to a temporary file and run it.
    Run(run::RunArgs),
    /// Check scripts without building: would they compile against these kernels?
    Check(build::CheckArgs),
    /// List what can be traced here, in a binary, or on another kernel.
    List(list::ListArgs),
    /// Explain builtins, functions and macros, each with an example.
    Doc(doc::DocArgs),
    /// Show what a built tracer is made of.
    Inspect {
        /// The tracer.
        file: PathBuf,
    },
}

/// The script and how to read it.
#[derive(Args, Clone, Default)]
struct ScriptArgs {
    /// The program itself, in place of a file.
    #[arg(short = 'e', value_name = "PROGRAM", overrides_with = "program")]
    program: Option<String>,
    /// Add a directory to the search path of #include.
    #[arg(short = 'I', value_name = "DIR")]
    include_dir: Vec<PathBuf>,
    /// Include a header before the script.
    #[arg(long, value_name = "FILE")]
    include: Vec<String>,
    /// Allow functions that change what is traced: system(), signal(), ...
    #[arg(long = "unsafe")]
    allow_unsafe: bool,
    /// Take kernel types from this BTF file (raw or ELF) instead of the bundled reference.
    #[arg(long, value_name = "FILE")]
    btf: Vec<PathBuf>,
    /// Look for separate debug files of traced binaries in this directory, too.
    #[arg(long, value_name = "DIR")]
    debuginfo: Vec<PathBuf>,
    /// Set a variable of the config block.
    #[arg(long, value_name = "NAME=VALUE")]
    config: Vec<String>,
    /// Build a tracer that runs the script's test: probes.
    #[arg(long)]
    test: bool,
    /// Build a tracer that runs the script's bench: probes.
    #[arg(long, conflicts_with = "test")]
    bench: bool,
    /// Show no warnings.
    #[arg(long)]
    no_warnings: bool,
}

/// Runs the command.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let result = if is_own(&args) { own(&args) } else { compat::main(args) };
    match result {
        Ok(code) => code,
        // A reader that has seen enough, such as `head`, is no error.
        Err(e) if is_closed_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::from(FAILED)
        }
    }
}

/// Does the command line begin with one of btc's own verbs?
fn is_own(args: &[OsString]) -> bool {
    use clap::CommandFactory;
    let Some(first) = args.first().and_then(|a| a.to_str()) else { return false };
    first == "help" || Cli::command().get_subcommands().any(|c| c.get_name() == first)
}

fn own(args: &[OsString]) -> Result<ExitCode> {
    match Cli::parse_from(std::iter::once(&OsString::from("btc")).chain(args)).command {
        Verb::Build(args) => build::build(args),
        Verb::Run(args) => compat::main(args.args),
        Verb::Check(args) => build::check(args),
        Verb::List(args) => list::list(args),
        Verb::Doc(args) => doc::doc(&args),
        Verb::Inspect { file } => inspect::inspect(&file),
    }
}

fn is_closed_pipe(e: &anyhow::Error) -> bool {
    e.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

/// What to compile, from the arguments.
fn request(args: &ScriptArgs, file: Option<&Path>) -> Result<Request> {
    let (name, path, text) = match (&args.program, file) {
        // bpftrace's name for it, which scripts' messages show.
        (Some(program), _) => ("stdin".to_string(), None, program.clone()),
        (None, Some(file)) if file.as_os_str() == "-" => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
            ("stdin".to_string(), None, text_of(bytes))
        }
        (None, Some(file)) => {
            let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            (file.display().to_string(), Some(file.to_path_buf()), text_of(bytes))
        }
        (None, None) => bail!("name a script, or give the program with -e"),
    };
    let mut settings = config::from_environment(|name| std::env::var(name).ok()).map_err(anyhow::Error::msg)?;
    for pair in &args.config {
        let Some((name, value)) = pair.split_once('=') else { bail!("--config {pair}: NAME=VALUE is expected") };
        let setting = config::find(name).with_context(|| format!("--config {pair}: unknown setting `{name}`"))?;
        let value = config::check(setting, value).map_err(|why| anyhow::anyhow!("--config {pair}: {why}"))?;
        settings.push((setting.name.to_string(), value));
    }
    Ok(Request {
        name,
        path,
        text,
        include_dirs: include_dirs(args),
        includes: args.include.clone(),
        allow_unsafe: args.allow_unsafe,
        settings,
        btf: if args.btf.is_empty() { Btf::Reference } else { Btf::Files(args.btf.clone()) },
        debug_dirs: debug_dirs(args),
        purpose: match (args.test, args.bench) {
            (true, _) => Purpose::Test,
            (_, true) => Purpose::Bench,
            _ => Purpose::Trace,
        },
        unoptimized: false,
        parameters: Vec::new(),
    })
}

/// `--debuginfo`, each of which may name several directories.
fn debug_dirs(args: &ScriptArgs) -> Vec<PathBuf> {
    args.debuginfo.iter().flat_map(std::env::split_paths).filter(|d| !d.as_os_str().is_empty()).collect()
}

/// `-I`, then the directories that C compilers take from the environment.
fn include_dirs(args: &ScriptArgs) -> Vec<PathBuf> {
    let mut dirs = args.include_dir.clone();
    for name in ["CPATH", "C_INCLUDE_PATH"] {
        if let Some(list) = std::env::var_os(name) {
            dirs.extend(std::env::split_paths(&list).filter(|d| !d.as_os_str().is_empty()));
        }
    }
    dirs
}

/// Text of a script; bytes that are no UTF-8 show up as such, and are refused by the grammar.
fn text_of(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
    }
}

/// Shows messages; the output, if there is one.
fn finish<T>(done: Compilation<T>, no_warnings: bool) -> Result<Option<T>> {
    let color = match std::env::var("BPFTRACE_COLOR").as_deref() {
        Ok("always") => true,
        Ok("never") => false,
        _ => std::io::stderr().is_terminal(),
    };
    let mut text = String::new();
    for d in done.diagnostics.sorted() {
        if !no_warnings || d.severity == Severity::Error {
            text.push_str(&render(d, &done.sources, color));
        }
    }
    eprint!("{text}");
    match done.output {
        Ok(output) => Ok(Some(output)),
        Err(Failure::Reported) => Ok(None),
        Err(Failure::Limit(why)) => bail!("the script does not fit a BPF program: {why}"),
        Err(Failure::Internal(why)) => bail!("internal error: {why}\nthis is a bug of btc; please report the script"),
        Err(Failure::Environment(e)) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn directories_of_debug_files_are_separated_by_colons() {
        let args = ScriptArgs { debuginfo: vec!["a:/b".into(), "c".into()], ..ScriptArgs::default() };
        assert_eq!(debug_dirs(&args), ["a", "/b", "c"].map(PathBuf::from));
    }

    #[test]
    fn verbs_are_told_from_scripts_and_options() {
        let own = |args: &[&str]| is_own(&args.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(own(&["build", "x.bt"]));
        assert!(own(&["list"]));
        assert!(!own(&["-l"]));
        assert!(!own(&["x.bt", "build"]));
        assert!(!own(&[]));
    }
}
