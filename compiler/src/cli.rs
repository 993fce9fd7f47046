//! The command line of btc.
//!
//! In: arguments. Out: what the driver makes of them, on disk or run. `btc run`
//! takes bpftrace's options with bpftrace's meaning: those of the compilation
//! are taken here, the others are handed to the tracer.

use crate::diagnostic::{Severity, render};
use crate::driver::{self, Btf, Compilation, Emit, Failure, Request};
use crate::link;
use crate::sema::config;
use anyhow::{Context, Result, bail};
use btc_payload::header;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::io::{IsTerminal, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

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
    Build(BuildArgs),
    /// Build a script to a temporary file and run it.
    Run(RunArgs),
    /// Check scripts without building: would they compile against these kernels?
    Check(CheckArgs),
    /// Show what a built tracer is made of.
    Inspect {
        /// The tracer.
        file: PathBuf,
    },
}

/// The script and how to read it.
#[derive(Args, Clone)]
struct ScriptArgs {
    /// The program itself, in place of a file.
    #[arg(short = 'e', value_name = "PROGRAM")]
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
    /// Set a variable of the config block.
    #[arg(long, value_name = "NAME=VALUE")]
    config: Vec<String>,
    /// Show no warnings.
    #[arg(long)]
    no_warnings: bool,
}

#[derive(Args)]
struct BuildArgs {
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
#[command(disable_help_flag = true)]
struct RunArgs {
    /// Options of btc and of the tracer, the script, its parameters.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

#[derive(Args)]
struct CheckArgs {
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

/// Runs the command.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Verb::Build(args) => build(args),
        Verb::Run(args) => run(args),
        Verb::Check(args) => check(args),
        Verb::Inspect { file } => inspect(&file),
    };
    match result {
        Ok(code) => code,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn build(args: BuildArgs) -> Result<ExitCode> {
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

fn default_output(file: Option<&std::path::Path>, emit: EmitKind) -> Result<PathBuf> {
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

/// Options of `btc run` that belong to the compilation and take a value.
const COMPILE_VALUES: &[&str] = &["-e", "-I", "--include", "--config", "--btf"];

/// Options of the tracer that take a value.
const RUN_VALUES: &[&str] = &["-f", "-o", "-B", "-p", "-c", "--map", "--probe-filter", "--no-feature"];

/// Splits the arguments of `btc run` into those of the compilation, the script
/// and those of the tracer.
fn split_run_args(args: Vec<OsString>) -> Result<(Vec<OsString>, Option<PathBuf>, Vec<OsString>)> {
    let (mut compile, mut tracer, mut file) = (Vec::new(), Vec::new(), None);
    let mut args = args.into_iter();
    let mut inline = false;
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy().into_owned();
        let option = text.split('=').next().unwrap_or("").to_string();
        let joined = text.contains('=') && text.starts_with("--");
        if text == "--" {
            tracer.push(arg);
            tracer.extend(args);
            break;
        } else if COMPILE_VALUES.contains(&option.as_str()) {
            inline |= option == "-e";
            compile.push(arg);
            if !joined {
                compile.push(args.next().with_context(|| format!("{option} needs a value"))?);
            }
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

/// As `ScriptArgs`, for the part of `btc run`'s arguments that is ours.
#[derive(Parser)]
#[command(name = "btc run")]
struct RunScript {
    #[command(flatten)]
    script: ScriptArgs,
}

fn run(args: RunArgs) -> Result<ExitCode> {
    let (compile, file, tracer) = split_run_args(args.args)?;
    let script = RunScript::parse_from(std::iter::once(OsString::from("btc run")).chain(compile)).script;
    if file.is_none() && script.program.is_none() {
        bail!("name a script, or give the program with -e\nusage: btc run [options] FILE|-e PROGRAM [parameters]");
    }
    let mut request = request(&script, file.as_deref())?;
    if script.btf.is_empty() {
        request.btf = Btf::Running;
    }
    let done = driver::compile(&request, Emit::Exe);
    let Some(bytes) = finish(done, script.no_warnings)? else { return Ok(ExitCode::from(FAILED)) };
    exec(&bytes, tracer)
}

/// Runs an executable from memory, in place of this process.
fn exec(bytes: &[u8], args: Vec<OsString>) -> Result<ExitCode> {
    let mut file = tempfile::Builder::new().prefix("btc-run-").tempfile().context("cannot create a temporary file")?;
    file.write_all(bytes)?;
    link::write_executable(file.path(), bytes)?;
    let path = file.path().to_path_buf();
    // The file must outlive this process's image, not the tracer's: a child runs
    // it, and its name goes as soon as the child is started.
    let mut child = Command::new(&path);
    child.arg0("btc run").args(args);
    let status = child.status().with_context(|| format!("cannot run {}", path.display()))?;
    drop(file);
    Ok(ExitCode::from(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(FAILED)))
}

fn check(args: CheckArgs) -> Result<ExitCode> {
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

fn inspect(file: &std::path::Path) -> Result<ExitCode> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let Some(payload) = link::payload_of(&bytes)? else { bail!("{} carries no script", file.display()) };
    let payload = header::read(payload)?;
    let m = &payload.manifest;
    println!("script      {} (sha256 {})", m.script.name, m.script.digest);
    println!("compiler    btc {}", m.compiler);
    println!("licence     {}", m.script.license);
    println!("object      {} bytes", payload.object.len());
    for p in &m.programs {
        println!("probe       {}", p.written);
    }
    for map in m.maps.iter().filter(|map| map.role == btc_payload::manifest::MapRole::Script) {
        println!("map         {} ({:?})", map.name, map.kind);
    }
    for r in &m.requirements {
        println!("requires    {:?} for {}", r.feature, r.construct);
    }
    for o in &m.options {
        println!("option      --{} (default {:?})", o.name, o.default);
    }
    for (name, value) in &m.settings {
        println!("setting     {name} = {value}");
    }
    Ok(ExitCode::SUCCESS)
}

/// What to compile, from the arguments.
fn request(args: &ScriptArgs, file: Option<&std::path::Path>) -> Result<Request> {
    let (name, path, text) = match (&args.program, file) {
        (Some(program), _) => ("-e".to_string(), None, program.clone()),
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
        include_dirs: args.include_dir.clone(),
        includes: args.include.clone(),
        allow_unsafe: args.allow_unsafe,
        settings,
        btf: if args.btf.is_empty() { Btf::Reference } else { Btf::Files(args.btf.clone()) },
        unoptimized: false,
    })
}

/// Text of a script; bytes that are no UTF-8 show up as such, and are refused by the grammar.
fn text_of(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
    }
}

/// Shows messages; the output, if there is one.
fn finish(done: Compilation, no_warnings: bool) -> Result<Option<Vec<u8>>> {
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
        Ok(bytes) => Ok(Some(bytes)),
        Err(Failure::Reported) => Ok(None),
        Err(Failure::Limit(why)) => bail!("the script does not fit a BPF program: {why}"),
        Err(Failure::Internal(why)) => bail!("internal error: {why}\nthis is a bug of btc; please report the script"),
        Err(Failure::Environment(e)) => Err(e),
    }
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
        let (_, f, t) = split(&["-v", "x.bt", "-5"]);
        assert_eq!((f, t), (Some(PathBuf::from("x.bt")), vec!["-v".to_string(), "-5".into()]));
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
