//! bpftrace's command line: options first, no verb, or behind `btc run`.
//!
//! In: arguments that do not begin with one of btc's verbs. Out: what bpftrace
//! does with them, as far as a compiler can: running, listing, dumps of the
//! stages. Options that only the tracer knows are left for it to judge.

use super::{FAILED, ScriptArgs, finish, host, list, request, run};
use crate::driver::{self, Emit};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = include_str!("help.txt");

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// Build to a temporary file and run.
    #[default]
    Run,
    Help,
    Version,
    Info,
    List,
    /// Print the script in standard form.
    Format,
    /// Print what these stages make.
    Dump(&'static [Emit]),
    /// Write the BPF object.
    Object(PathBuf),
    /// What btc does not do, and what to do instead.
    Refused(&'static str),
}

/// A command line, as far as others than the tracer need it.
#[derive(Default)]
struct Line {
    mode: Mode,
    verbose: bool,
    pid: Option<u32>,
    traceable: Option<PathBuf>,
    script: ScriptArgs,
    /// The script or the search, and what follows.
    positional: Vec<String>,
    /// Options that are not known here.
    unknown: Vec<String>,
}

/// An option, and whether it takes a value.
struct Flag {
    names: &'static [&'static str],
    valued: bool,
    set: fn(&mut Line, String) -> Result<()>,
}

fn mode(line: &mut Line, mode: Mode) -> Result<()> {
    line.mode = mode;
    Ok(())
}

/// What bpftrace measures of itself.
const NO_MODES: &str = "the modes are test, bench and format; the others are about bpftrace itself";
/// Why there is no LLVM IR.
const NO_LLVM: &str = "btc does not use LLVM; see the IR of its own with -d clif and -d clif-opt";

macro_rules! flag {
    ([$($name:literal),+], $set:expr) => { Flag { names: &[$($name),+], valued: false, set: $set } };
    ([$($name:literal),+], value, $set:expr) => { Flag { names: &[$($name),+], valued: true, set: $set } };
}

static FLAGS: &[Flag] = &[
    flag!(["-h", "--help"], |l, _| mode(l, Mode::Help)),
    flag!(["-V", "--version"], |l, _| mode(l, Mode::Version)),
    flag!(["--info"], |l, _| mode(l, Mode::Info)),
    flag!(["-l", "--list"], |l, _| mode(l, Mode::List)),
    flag!(["-v", "--verbose"], |l, _| {
        l.verbose = true;
        Ok(())
    }),
    flag!(["--fmt"], |l, _| mode(l, Mode::Format)),
    flag!(["--test"], |l, _| {
        l.script.test = true;
        Ok(())
    }),
    flag!(["--bench"], |l, _| {
        l.script.bench = true;
        Ok(())
    }),
    flag!(["--mode"], value, |l, v| match v.as_str() {
        "test" | "bench" => Ok(()),
        "format" => mode(l, Mode::Format),
        _ => mode(l, Mode::Refused(NO_MODES)),
    }),
    flag!(["--emit-llvm"], value, |l, _| mode(l, Mode::Refused(NO_LLVM))),
    flag!(["--emit-elf"], value, |l, v| mode(l, Mode::Object(v.into()))),
    flag!(["-d", "--debug"], value, |l, v| stages(&v).and_then(|stages| mode(l, Mode::Dump(stages)))),
    flag!(["-p", "--pid"], value, |l, v| {
        l.pid = Some(v.parse().with_context(|| format!("`{v}` is not a process id"))?);
        Ok(())
    }),
    flag!(["--traceable-functions"], value, |l, v| {
        l.traceable = Some(v.into());
        Ok(())
    }),
    flag!(["-e"], value, |l, v| {
        l.script.program = Some(v);
        Ok(())
    }),
    flag!(["-I"], value, |l, v| {
        l.script.include_dir.push(v.into());
        Ok(())
    }),
    flag!(["--include"], value, |l, v| {
        l.script.include.push(v);
        Ok(())
    }),
    flag!(["--btf"], value, |l, v| {
        l.script.btf.push(v.into());
        Ok(())
    }),
    flag!(["--debuginfo"], value, |l, v| {
        l.script.debuginfo.push(v.into());
        Ok(())
    }),
    flag!(["--config"], value, |l, v| {
        l.script.config.push(v);
        Ok(())
    }),
    flag!(["--unsafe"], |l, _| {
        l.script.allow_unsafe = true;
        Ok(())
    }),
    flag!(["--no-warnings"], |l, _| {
        l.script.no_warnings = true;
        Ok(())
    }),
];

/// Names of stages: btc's own, then bpftrace's for what is nearest.
const STAGES: &[(&str, &[Emit])] = &[
    ("ast", &[Emit::Ast]),
    ("hir", &[Emit::Hir]),
    ("clif", &[Emit::Clif]),
    ("clif-opt", &[Emit::ClifOpt]),
    ("bpf", &[Emit::Bpf]),
    ("all", &[Emit::Ast, Emit::Hir, Emit::Clif, Emit::ClifOpt, Emit::Bpf]),
    ("parse", &[Emit::Ast]),
    ("types", &[Emit::Hir]),
    ("codegen", &[Emit::Clif]),
    ("codegen-opt", &[Emit::ClifOpt]),
    ("dis", &[Emit::Bpf]),
];

fn stages(name: &str) -> Result<&'static [Emit]> {
    if matches!(name, "libbpf" | "verifier") {
        bail!("-d {name}: a tracer shows this itself; run it with -v");
    }
    let Some((_, stages)) = STAGES.iter().find(|s| s.0 == name) else {
        let names: Vec<_> = STAGES.iter().map(|s| s.0).collect();
        bail!("-d {name}: there is no such stage; the stages are {}", names.join(", "));
    };
    Ok(stages)
}

/// Runs bpftrace's command line.
pub(super) fn main(args: Vec<OsString>) -> Result<ExitCode> {
    if args.is_empty() {
        eprint!("{HELP}");
        return Ok(ExitCode::from(FAILED));
    }
    let line = parse(&args)?;
    // When a script runs, what is unknown here may be an option of its own.
    if let Some(unknown) = line.unknown.iter().find(|name| line.mode != Mode::Run || !name.starts_with("--")) {
        let usage = HELP.split("\n\n").find(|part| part.starts_with("USAGE:")).unwrap_or_default();
        bail!("unknown option `{unknown}`; btc --help lists the options\n{usage}");
    }
    let file = line.positional.first().map(Path::new);
    match line.mode {
        Mode::Run => return run::run(run::RunArgs { args }),
        Mode::Help => std::io::stdout().write_all(HELP.as_bytes())?,
        Mode::Version => writeln!(std::io::stdout(), "{}", version(std::env::args_os().next()))?,
        Mode::Info => std::io::stdout().write_all(host::info().as_bytes())?,
        Mode::List => {
            let search = list::Search {
                verbose: line.verbose,
                pid: line.pid,
                traceable: line.traceable,
                reference: false,
                script: line.script,
                patterns: line.positional,
            };
            return list::show(search);
        }
        Mode::Format => {
            let done = driver::format(&request(&line.script, file)?);
            let Some(text) = finish(done, line.script.no_warnings)? else { return Ok(ExitCode::from(FAILED)) };
            std::io::stdout().write_all(&text)?;
        }
        Mode::Dump(stages) => return dump(&line.script, file, stages),
        Mode::Object(path) => {
            let Some(object) = compile(&line.script, file, Emit::Obj)? else { return Ok(ExitCode::from(FAILED)) };
            std::fs::write(&path, object).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Mode::Refused(why) => bail!("{why}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// The release of bpftrace whose language and command line these are.
const BPFTRACE: &str = "0.27.1";

/// Where btc was installed under bpftrace's name, who asks for the version wants to
/// know what the language offers.
fn version(program: Option<OsString>) -> String {
    let own = concat!("btc v", env!("CARGO_PKG_VERSION"));
    match program.as_deref().map(Path::new).and_then(Path::file_name) {
        Some(name) if name == "bpftrace" => format!("bpftrace v{BPFTRACE} ({own})"),
        _ => own.into(),
    }
}

fn compile(script: &ScriptArgs, file: Option<&Path>, emit: Emit) -> Result<Option<Vec<u8>>> {
    let request = request(script, file)?;
    finish(driver::compile(&request, emit), script.no_warnings)
}

fn dump(script: &ScriptArgs, file: Option<&Path>, stages: &[Emit]) -> Result<ExitCode> {
    for &stage in stages {
        let Some(text) = compile(script, file, stage)? else { return Ok(ExitCode::from(FAILED)) };
        if stages.len() > 1 {
            writeln!(std::io::stdout(), "{stage:?}\n-------------------")?;
        }
        std::io::stdout().write_all(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads options wherever they stand, up to `--` or a script's parameters.
fn parse(args: &[OsString]) -> Result<Line> {
    let mut line = Line::default();
    let mut args = args.iter().map(|a| a.to_string_lossy().into_owned());
    while let Some(arg) = args.next() {
        if arg == "--" {
            break;
        } else if arg.starts_with("--") {
            long(&mut line, &arg, &mut args)?;
        } else if arg.starts_with('-') && arg.len() > 1 {
            letters(&mut line, &arg, &mut args)?;
        } else {
            line.positional.push(arg);
            let own = if line.script.program.is_some() { 0 } else { 1 };
            if line.mode == Mode::Run && line.positional.len() > own {
                // Parameters may look like options: `-5`.
                break;
            }
        }
    }
    Ok(line)
}

fn flag(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|f| f.names.contains(&name))
}

fn long(line: &mut Line, arg: &str, rest: &mut impl Iterator<Item = String>) -> Result<()> {
    let (name, value) = match arg.split_once('=') {
        Some((name, value)) => (name, Some(value.to_string())),
        None => (arg, None),
    };
    match flag(name) {
        Some(flag) if flag.valued => {
            let value = value.or_else(|| rest.next()).with_context(|| format!("{name} needs a value"))?;
            (flag.set)(line, value)
        }
        Some(flag) => (flag.set)(line, String::new()),
        None => {
            if value.is_none() && run::RUN_VALUES.contains(&name) {
                rest.next();
            }
            line.note_unknown(name);
            Ok(())
        }
    }
}

/// `-lv`, `-pPID`: letters without values may share a dash.
fn letters(line: &mut Line, arg: &str, rest: &mut impl Iterator<Item = String>) -> Result<()> {
    for (at, letter) in arg.char_indices().skip(1) {
        let name = format!("-{letter}");
        let behind = &arg[at + letter.len_utf8()..];
        let known = flag(&name);
        let valued = known.is_some_and(|f| f.valued) || run::RUN_VALUES.contains(&name.as_str());
        let value = match (valued, behind) {
            (false, _) => String::new(),
            (true, "") => rest.next().with_context(|| format!("{name} needs a value"))?,
            (true, behind) => behind.to_string(),
        };
        match known {
            Some(flag) => (flag.set)(line, value)?,
            None => line.note_unknown(&name),
        }
        if valued || !line.unknown.is_empty() {
            break;
        }
    }
    Ok(())
}

impl Line {
    /// Options of the tracer mean nothing to the other modes, but are no mistake.
    fn note_unknown(&mut self, name: &str) {
        let known = [run::RUN_VALUES, run::RUN_FLAGS, run::IGNORED].iter().any(|names| names.contains(&name));
        if !known {
            self.unknown.push(name.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(args: &[&str]) -> Line {
        parse(&args.iter().map(OsString::from).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn lists_are_asked_for_in_many_ways() {
        for args in [&["-lv", "t:*"][..], &["-vl", "t:*"], &["-l", "t:*", "-v"], &["t:*", "--list", "--verbose"]] {
            let line = line(args);
            assert_eq!((line.mode, line.verbose), (Mode::List, true), "{args:?}");
            assert_eq!(line.positional, ["t:*"]);
        }
        let line = line(&["-p42", "-l"]);
        assert_eq!((line.mode, line.pid), (Mode::List, Some(42)));
    }

    #[test]
    fn scripts_are_run_and_keep_their_parameters() {
        assert_eq!(line(&["x.bt", "1", "-l"]).mode, Mode::Run);
        assert_eq!(line(&["-e", "BEGIN {}", "-l"]).mode, Mode::List);
        assert_eq!(line(&["-c", "ls -l", "x.bt", "--", "--help"]).mode, Mode::Run);
        assert_eq!(line(&["-z", "x.bt"]).unknown, ["-z"]);
        assert_eq!(line(&["-zdnone"]).unknown, ["-z"]);
        assert!(line(&["-kq", "--dry-run", "x.bt"]).unknown.is_empty());
    }

    #[test]
    fn stages_have_both_names() {
        assert_eq!(line(&["-d", "ast", "-e", "BEGIN {}"]).mode, Mode::Dump(&[Emit::Ast]));
        assert_eq!(line(&["--debug=codegen-opt"]).mode, Mode::Dump(&[Emit::ClifOpt]));
        assert!(stages("foo").unwrap_err().to_string().contains("the stages are ast"));
        assert!(stages("verifier").is_err());
    }

    #[test]
    fn the_version_is_that_of_the_name() {
        let own = version(Some("/usr/bin/btc".into()));
        assert!(own.starts_with("btc v"), "{own}");
        assert_eq!(version(Some("/usr/bin/bpftrace".into())), format!("bpftrace v{BPFTRACE} ({own})"));
        assert_eq!(version(None), own);
    }

    #[test]
    fn flags_are_unique() {
        let mut names: Vec<_> = FLAGS.iter().flat_map(|f| f.names).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
