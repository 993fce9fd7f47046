//! `btc build` and `btc check`: scripts to files, or only to messages.
//!
//! In: the options. Out: what was asked for, at the place named or at one named
//! after the script.

use super::{FAILED, ScriptArgs, finish, request};
use crate::driver::{self, Btf, Emit};
use crate::link;
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args)]
pub(super) struct BuildArgs {
    #[command(flatten)]
    script: ScriptArgs,
    /// The script; `-` is standard input.
    file: Option<PathBuf>,
    /// Where to write; the script's name without its ending by default.
    #[arg(short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What to write: the executable, or what one of the stages makes.
    #[arg(long, value_enum, default_value_t = EmitKind::Exe)]
    emit: EmitKind,
    /// Leave out the optimiser.
    #[arg(short = 'O', value_name = "0|1", default_value = "1", value_parser = ["0", "1"])]
    optimize: String,
}

#[derive(Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    script: ScriptArgs,
    /// The scripts.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EmitKind {
    Ast,
    Hir,
    Clif,
    ClifOpt,
    Bpf,
    Obj,
    Payload,
    Crate,
    Exe,
}

impl EmitKind {
    fn stage(self) -> Emit {
        match self {
            EmitKind::Ast => Emit::Ast,
            EmitKind::Hir => Emit::Hir,
            EmitKind::Clif => Emit::Clif,
            EmitKind::ClifOpt => Emit::ClifOpt,
            EmitKind::Bpf => Emit::Bpf,
            EmitKind::Obj => Emit::Obj,
            EmitKind::Payload | EmitKind::Crate => Emit::Payload,
            EmitKind::Exe => Emit::Exe,
        }
    }

    /// Text that goes to the terminal unless a file is named.
    fn is_text(self) -> bool {
        matches!(self, EmitKind::Ast | EmitKind::Hir | EmitKind::Clif | EmitKind::ClifOpt | EmitKind::Bpf)
    }
}

/// `btc build`.
pub(super) fn build(args: BuildArgs) -> Result<ExitCode> {
    let mut request = request(&args.script, args.file.as_deref())?;
    request.unoptimized = args.optimize == "0";
    let done = driver::compile(&request, args.emit.stage());
    let Some(bytes) = finish(done, args.script.no_warnings)? else { return Ok(ExitCode::from(FAILED)) };
    if args.emit.is_text() && args.output.is_none() {
        std::io::stdout().write_all(&bytes)?;
        return Ok(ExitCode::SUCCESS);
    }
    let output = match &args.output {
        Some(path) => path.clone(),
        None => default_output(args.file.as_deref(), args.emit)?,
    };
    match args.emit {
        EmitKind::Exe => link::write_executable(&output, &bytes)?,
        EmitKind::Crate => link::project::write(&output, &bytes)?,
        _ => std::fs::write(&output, &bytes).with_context(|| format!("cannot write {}", output.display()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn default_output(file: Option<&Path>, emit: EmitKind) -> Result<PathBuf> {
    let Some(stem) = file.filter(|f| f.as_os_str() != "-").and_then(|f| f.file_stem()) else {
        bail!("name the output with -o");
    };
    let mut name = PathBuf::from(stem);
    match emit {
        EmitKind::Obj => {
            name.set_extension("o");
        }
        EmitKind::Payload => {
            name.set_extension("payload");
        }
        EmitKind::Crate => name = PathBuf::from(format!("{}-tracer", stem.to_string_lossy())),
        _ => {}
    }
    Ok(name)
}

/// `btc check`.
pub(super) fn check(args: CheckArgs) -> Result<ExitCode> {
    let mut failed = false;
    let kernels: Vec<Option<PathBuf>> = match args.script.btf.as_slice() {
        [] => vec![None],
        list => list.iter().cloned().map(Some).collect(),
    };
    for file in &args.files {
        for kernel in &kernels {
            let mut request = request(&args.script, Some(file))?;
            request.btf = kernel.clone().map_or(Btf::Reference, |k| Btf::Files(vec![k]));
            let done = driver::compile(&request, Emit::Obj);
            let ok = finish(done, args.script.no_warnings)?.is_some();
            let kernel = kernel.as_ref().map_or("reference kernel".into(), |k| k.display().to_string());
            println!("{:<8} {}  {kernel}", if ok { "ok" } else { "FAILED" }, file.display());
            failed |= !ok;
        }
    }
    Ok(if failed { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}
