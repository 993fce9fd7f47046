//! `btc list` and `-l`: what can be traced.
//!
//! In: patterns or a script. Out: lines on standard output; what could not be
//! looked at, on standard error.

use super::{FAILED, ScriptArgs, debug_dirs, finish, request};
use crate::driver::{self, Btf};
use crate::list::{From, Options, list as list_patterns, list_script};
use anyhow::Result;
use clap::Args;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args)]
pub(super) struct ListArgs {
    /// Show parameters of probes and definitions of types.
    #[arg(short, long)]
    verbose: bool,
    /// List what is in the binaries of this process.
    #[arg(short, long, value_name = "PID")]
    pid: Option<u32>,
    /// List what the bundled reference kernel has, not this system.
    #[arg(long)]
    reference: bool,
    /// File of kernel functions that may be traced, one a line.
    #[arg(long, value_name = "FILE")]
    traceable_functions: Option<PathBuf>,
    #[command(flatten)]
    script: ScriptArgs,
    /// KIND:PATTERN, a pattern of names, `struct NAME`, or a script.
    patterns: Vec<String>,
}

/// What to list.
pub(super) struct Search {
    pub verbose: bool,
    pub pid: Option<u32>,
    pub traceable: Option<PathBuf>,
    pub reference: bool,
    pub script: ScriptArgs,
    pub patterns: Vec<String>,
}

/// `btc list`.
pub(super) fn list(args: ListArgs) -> Result<ExitCode> {
    show(Search {
        verbose: args.verbose,
        pid: args.pid,
        traceable: args.traceable_functions,
        reference: args.reference,
        script: args.script,
        patterns: args.patterns,
    })
}

/// Lists what was asked for.
pub(super) fn show(search: Search) -> Result<ExitCode> {
    let from = match search.script.btf.as_slice() {
        [] if search.reference => From::Reference,
        [] => From::Running,
        files => From::Files(files.to_vec()),
    };
    let options = Options {
        verbose: search.verbose,
        pid: search.pid,
        from,
        traceable: search.traceable,
        debug_dirs: debug_dirs(&search.script),
    };
    let file = search.patterns.first().filter(|p| search.script.program.is_none() && is_script(p));
    let found = if file.is_none() && search.script.program.is_none() {
        list_patterns(&options, &search.patterns)?
    } else {
        let mut request = request(&search.script, file.map(Path::new))?;
        if options.from == From::Running {
            request.btf = Btf::Running;
        }
        let done = driver::attach_points(&request);
        let Some(points) = finish(done, search.script.no_warnings)? else { return Ok(ExitCode::from(FAILED)) };
        list_script(&options, &points, &search.patterns[usize::from(file.is_some())..])?
    };
    if !search.script.no_warnings {
        found.notes.iter().for_each(|note| eprintln!("warning: {note}"));
    }
    let mut out = std::io::stdout().lock();
    for line in &found.lines {
        writeln!(out, "{line}")?;
    }
    Ok(if found.nothing { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// A script's file, and no pattern.
fn is_script(name: &str) -> bool {
    name == "-" || (!name.contains([':', '*']) && Path::new(name).is_file())
}
