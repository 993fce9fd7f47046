//! The tracer's command line.
//!
//! In: arguments and the manifest (which options and parameters the script
//! declares). Out: [`Options`]. One table of flags is both the parser and the
//! help. No crate: the options are few, and an argument parser would be a tenth
//! of the executable.

use crate::target::features::OPTIONAL;
use crate::target::regex::Regex;
use anyhow::{Context, Result, anyhow, bail};
use btc_payload::manifest::{Manifest, MapRole, NamedOption, OptionValue};
use btc_payload::start::Feature;
use std::path::PathBuf;

/// What to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Trace.
    #[default]
    Run,
    /// `--help`.
    Help,
    /// `--version`.
    Version,
    /// `--about`.
    About,
    /// `--source`.
    Source,
    /// `--list`.
    List,
    /// `--check`.
    Check,
}

/// Form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// When output is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffering {
    /// At each end of a line.
    Line,
    /// When the buffer is full, and before waiting.
    Full,
    /// After each piece.
    None,
}

/// The command line, parsed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What to do.
    pub mode: Mode,
    /// `-f`.
    pub format: OutputFormat,
    /// `-o`.
    pub output: Option<String>,
    /// `-B`.
    pub buffering: Option<Buffering>,
    /// `-q`.
    pub quiet: bool,
    /// `-v`.
    pub verbose: bool,
    /// `-k`: report failing helpers.
    pub helper_errors: bool,
    /// `--no-warnings`.
    pub no_warnings: bool,
    /// `--dry-run`.
    pub dry_run: bool,
    /// Which probes are attached; begin and end always are.
    pub probe_filter: Option<Regex>,
    /// Where separate debug files are looked for, besides the usual places.
    pub debug_dirs: Vec<PathBuf>,
    /// What the kernel has and is not to be used.
    pub no_features: Vec<Feature>,
    /// `-p`.
    pub pid: Option<u32>,
    /// `-c`.
    pub command: Option<String>,
    /// `--btf`.
    pub btf: Option<PathBuf>,
    /// `--map`: entries by map name.
    pub map_sizes: Vec<(String, u32)>,
    /// `--traceable-functions`.
    pub traceable: Option<String>,
    /// `--usdt-file-activation`.
    pub usdt_file_activation: bool,
    /// `--wait-detach`: do not leave detaching to a child.
    pub wait_detach: bool,
    /// `--unsafe`: probe places where it may harm.
    pub allow_unsafe: bool,
    /// Positional parameters.
    pub parameters: Vec<String>,
    /// Values of the script's own options, by their index in the manifest.
    pub named: Vec<OptionValue>,
}

/// A flag of every tracer.
pub struct Flag {
    /// Spellings, short ones first.
    pub names: &'static [&'static str],
    /// Name of its value, when it takes one.
    pub value: Option<&'static str>,
    /// One line of help; empty ones are accepted and not shown.
    pub help: &'static str,
    set: fn(&mut Options, &str) -> Result<()>,
}

macro_rules! flag {
    ($names:expr, $value:expr, $help:expr, $set:expr) => {
        Flag { names: &$names, value: $value, help: $help, set: $set }
    };
}

/// All flags, in the order of the help.
pub const FLAGS: &[Flag] = &[
    flag!(["-h", "--help"], None, "print this help", |o, _| mode(o, Mode::Help)),
    flag!(["-V", "--version"], None, "print the version of btc that built this tracer", |o, _| mode(o, Mode::Version)),
    flag!(["--about"], None, "print what this tracer is: script, digest, probes, required kernel", |o, _| {
        mode(o, Mode::About)
    }),
    flag!(["--source"], None, "print the script", |o, _| mode(o, Mode::Source)),
    flag!(["-l", "--list"], None, "list probes, maps and what the kernel must offer; needs no root", |o, _| {
        mode(o, Mode::List)
    }),
    flag!(["--check"], None, "can it run here? one line per condition; attaches nothing", |o, _| mode(o, Mode::Check)),
    flag!(["-p", "--pid"], Some("PID"), "trace this process only", |o, v| {
        o.pid = Some(process_id(v)?);
        Ok(())
    }),
    flag!(["-c", "--cmd"], Some("CMD"), "run CMD, trace it, and end when it ends", |o, v| {
        o.command = Some(v.into());
        Ok(())
    }),
    flag!(["-o", "--output"], Some("FILE"), "write output to FILE", |o, v| {
        o.output = Some(v.into());
        Ok(())
    }),
    flag!(["-f", "--format"], Some("FORMAT"), "output format: text or json", |o, v| {
        o.format = match v {
            "text" => OutputFormat::Text,
            "json" => OutputFormat::Json,
            _ => bail!("Invalid output format \"{v}\"\nValid formats: 'text', 'json'"),
        };
        Ok(())
    }),
    flag!(["-B", "--buffering"], Some("MODE"), "output buffering: line, full or none", |o, v| {
        o.buffering = Some(match v {
            "line" => Buffering::Line,
            "full" => Buffering::Full,
            "none" => Buffering::None,
            _ => bail!("-B must be either 'line', 'full', or 'none', not `{v}`"),
        });
        Ok(())
    }),
    flag!(["-q", "--quiet"], None, "no messages besides the script's output", |o, _| {
        o.quiet = true;
        Ok(())
    }),
    flag!(
        ["-v", "--verbose"],
        None,
        "say what is attached; the verifier's log on failure; what was counted, at the end",
        |o, _| {
            o.verbose = true;
            Ok(())
        }
    ),
    flag!(["-k", "-kk", "--warnings"], None, "warn when a BPF helper fails", |o, _| {
        o.helper_errors = true;
        Ok(())
    }),
    flag!(["--no-warnings"], None, "no warnings", |o, _| {
        o.no_warnings = true;
        Ok(())
    }),
    flag!(["--map"], Some("@NAME=N"), "let a map hold N entries", map_size),
    flag!(["--btf"], Some("FILE"), "kernel types from FILE instead of /sys/kernel/btf/vmlinux", |o, v| {
        o.btf = Some(v.into());
        Ok(())
    }),
    flag!(["--traceable-functions"], Some("FILE"), "functions that wildcards may match, one a line", |o, v| {
        o.traceable = Some(v.into());
        Ok(())
    }),
    flag!(["--usdt-file-activation"], None, "activate usdt semaphores by file", |o, _| {
        o.usdt_file_activation = true;
        Ok(())
    }),
    flag!(["--wait-detach"], None, "exit only when all probes are detached", |o, _| {
        o.wait_detach = true;
        Ok(())
    }),
    flag!(["--dry-run"], None, "attach, then exit", |o, _| {
        o.dry_run = true;
        Ok(())
    }),
    flag!(["--unsafe"], None, "", |o, _| {
        o.allow_unsafe = true;
        Ok(())
    }),
    flag!(["--debuginfo"], Some("DIR[:DIR]"), "look for debug information of programs here, too", |o, v| {
        o.debug_dirs.extend(v.split(':').filter(|d| !d.is_empty()).map(PathBuf::from));
        Ok(())
    }),
    flag!(["--no-feature"], Some("LIST"), "do without kprobe_multi, kprobe_session, uprobe_multi", |o, v| {
        for name in v.split(',') {
            let found = OPTIONAL.iter().find(|f| f.0 == name);
            o.no_features.push(found.with_context(|| format!("--no-feature: `{name}` cannot be turned off"))?.1);
        }
        Ok(())
    }),
    flag!(["--probe-filter"], Some("REGEX"), "attach only probes whose name matches", |o, v| {
        o.probe_filter = Some(Regex::new(v)?);
        Ok(())
    }),
];

fn mode(o: &mut Options, mode: Mode) -> Result<()> {
    // The first one asked for wins, so that `--help --check` is help.
    if o.mode == Mode::Run {
        o.mode = mode;
    }
    Ok(())
}

fn process_id(text: &str) -> Result<u32> {
    let pid = text.parse::<u64>().map_err(|_| anyhow!("`{text}` is no process id"))?;
    // PID_MAX_LIMIT of 64-bit kernels.
    if pid == 0 || pid > 4_194_304 {
        bail!("Pid out of range: {text}");
    }
    Ok(pid as u32)
}

fn map_size(o: &mut Options, text: &str) -> Result<()> {
    let (name, count) = text.split_once('=').context("--map wants @NAME=N, such as --map @x=100000")?;
    let count = parse_number(count).and_then(|n| u32::try_from(n).ok()).filter(|&n| n > 0);
    let count = count.with_context(|| format!("--map {text}: the part after `=` must be a positive number"))?;
    let name = if name.starts_with('@') { name.to_string() } else { format!("@{name}") };
    o.map_sizes.push((name, count));
    Ok(())
}

/// Parses the arguments (without the program's name).
pub fn parse(manifest: &Manifest, args: impl Iterator<Item = String>) -> Result<Options> {
    let mut o = Options { named: manifest.options.iter().map(|n| n.default.clone()).collect(), ..Options::default() };
    let mut args = args.peekable();
    let mut own = true;
    while let Some(arg) = args.next() {
        if own && arg == "--" {
            own = false;
        } else if !arg.starts_with('-') || arg == "-" || arg[1..].starts_with(|c: char| c.is_ascii_digit()) {
            o.parameters.push(arg);
        } else if own && flag(&mut o, &arg, &mut args)? {
        } else {
            named(&manifest.options, &mut o, &arg, &mut args)?;
        }
    }
    check_maps(manifest, &o)?;
    if o.pid.is_some() && o.command.is_some() {
        bail!("-p and -c name different processes: give one of them");
    }
    Ok(o)
}

/// Sizes of maps that the script does not have are slips.
fn check_maps(manifest: &Manifest, o: &Options) -> Result<()> {
    let known = |name: &String| manifest.maps.iter().any(|m| m.role == MapRole::Script && m.name == *name);
    match o.map_sizes.iter().find(|(name, _)| !known(name)) {
        Some((name, _)) => bail!("--map {name}: the script has no such map; --list shows those it has"),
        None => Ok(()),
    }
}

/// Handles `arg` when it is one of [`FLAGS`].
fn flag(o: &mut Options, arg: &str, rest: &mut impl Iterator<Item = String>) -> Result<bool> {
    let (name, attached) = match arg.split_once('=') {
        Some((n, v)) if arg.starts_with("--") => (n, Some(v.to_string())),
        _ => (arg, None),
    };
    if let Some(f) = FLAGS.iter().find(|f| f.names.contains(&name)) {
        let value = match (f.value, attached) {
            (None, None) => String::new(),
            (None, Some(_)) => bail!("{name} takes no value"),
            (Some(_), Some(v)) => v,
            (Some(what), None) => rest.next().with_context(|| format!("{name} wants a value: {name} {what}"))?,
        };
        (f.set)(o, &value)?;
        return Ok(true);
    }
    // Several short flags in one word, or a value stuck to its flag: -qv, -fjson.
    let mut letters = arg.char_indices().skip(1).peekable();
    if arg.starts_with("--") || letters.peek().is_none() {
        return Ok(false);
    }
    for (at, c) in letters {
        let short = format!("-{c}");
        let Some(f) = FLAGS.iter().find(|f| f.names.contains(&short.as_str())) else {
            bail!("unknown option `{short}`; see --help");
        };
        if f.value.is_some() {
            let tail = &arg[at + c.len_utf8()..];
            let value = if tail.is_empty() { rest.next().unwrap_or_default() } else { tail.to_string() };
            (f.set)(o, &value)?;
            return Ok(true);
        }
        (f.set)(o, "")?;
    }
    Ok(true)
}

/// An option of the script, and what the script says about it.
fn described(option: &NamedOption) -> String {
    let about = if option.help.is_empty() { String::new() } else { format!(": {}", option.help) };
    format!("--{}{about}", option.name)
}

/// Handles an option that the script declares with `getopt`.
fn named(
    known: &[NamedOption],
    o: &mut Options,
    arg: &str,
    rest: &mut std::iter::Peekable<impl Iterator<Item = String>>,
) -> Result<()> {
    let body = arg.trim_start_matches('-');
    let (name, value) = match body.split_once('=') {
        Some((n, v)) => (n, Some(v.to_string())),
        None => (body, None),
    };
    let Some(index) = known.iter().position(|n| n.name == name).filter(|_| arg.starts_with("--")) else {
        let hint = match known {
            [] => String::new(),
            [one] => format!("\nHINT: expected program options: {}", described(one)),
            all => all.iter().fold("\nHINT: expected program options:".into(), |h: String, n| h + "\n" + &described(n)),
        };
        bail!("unexpected program command line options: {arg}{hint}\nsee --help");
    };
    let bad = |kind: &str, v: &str| anyhow!("program command line option --{name} invalid {kind} (value: {v})");
    o.named[index] = match (&known[index].default, value) {
        (OptionValue::Bool(_), None) => OptionValue::Bool(true),
        (OptionValue::Bool(_), Some(v)) => {
            OptionValue::Bool(crate::settings::parse_bool(&v).ok_or_else(|| bad("boolean", &v))?)
        }
        (default, value) => {
            let value =
                value.or_else(|| rest.next()).with_context(|| format!("--{name} wants a value: --{name}=..."))?;
            match default {
                OptionValue::Int(_) => OptionValue::Int(parse_number(&value).ok_or_else(|| bad("integer", &value))?),
                _ => OptionValue::Text(value),
            }
        }
    };
    Ok(())
}

/// Parses a number as scripts write them: decimal, `0x`, `0` octal, `_`,
/// exponents, and durations, which are nanoseconds.
pub fn parse_number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let plain: String = digits.chars().filter(|&c| c != '_').collect();
    if !plain.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let value = if let Some(hex) = plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
        u64::from_str_radix(hex, 16).ok()?
    } else {
        let end = plain.find(|c: char| !c.is_ascii_digit()).unwrap_or(plain.len());
        let (number, suffix) = plain.split_at(end);
        let octal = number.len() > 1 && number.starts_with('0') && suffix.is_empty();
        let base = u64::from_str_radix(number, if octal { 8 } else { 10 }).ok()?;
        base.checked_mul(suffix_factor(suffix)?)?
    };
    // The whole unsigned range is a number, too; it wraps like the script's integers.
    let value = value as i64;
    Some(if negative { value.wrapping_neg() } else { value })
}

/// What a suffix multiplies by: an exponent or a unit of time.
fn suffix_factor(suffix: &str) -> Option<u64> {
    if let Some(exponent) = suffix.strip_prefix(['e', 'E']) {
        return 10u64.checked_pow(exponent.parse().ok()?);
    }
    const UNITS: &[(&str, u64)] = &[
        ("", 1),
        ("ns", 1),
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
        ("d", 86_400_000_000_000),
        ("u", 1),
        ("l", 1),
        ("ul", 1),
        ("ll", 1),
        ("ull", 1),
    ];
    let lower = suffix.to_ascii_lowercase();
    UNITS.iter().find(|u| u.0 == lower).map(|u| u.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use btc_payload::layout::ValueType;
    use btc_payload::manifest::{Map, MapKind};

    fn manifest() -> Manifest {
        let option = |name: &str, default| NamedOption { name: name.into(), default, help: String::new() };
        Manifest {
            options: vec![
                option("aa", OptionValue::Int(7)),
                option("bb", OptionValue::Bool(false)),
                option("name", OptionValue::Text("none".into())),
            ],
            maps: vec![Map {
                name: "@x".into(),
                symbol: "at_x".into(),
                role: MapRole::Script,
                kind: MapKind::Hash,
                key: ValueType::Unit,
                value: ValueType::Unit,
                max_entries: None,
                buckets: None,
            }],
            ..Manifest::default()
        }
    }

    fn run(line: &[&str]) -> Result<Options> {
        parse(&manifest(), line.iter().map(|s| s.to_string()))
    }

    #[test]
    fn flags_parameters_and_named_options_mix() {
        let o = run(&["-qv", "-fjson", "p1", "--map", "x=5", "--", "--aa=20", "--bb", "p2", "--name", "v"]).unwrap();
        assert!(o.quiet && o.verbose && o.format == OutputFormat::Json);
        assert_eq!(o.parameters, ["p1", "p2"]);
        assert_eq!(o.map_sizes, [("@x".to_string(), 5)]);
        assert_eq!(o.named, [OptionValue::Int(20), OptionValue::Bool(true), OptionValue::Text("v".into())]);
    }

    #[test]
    fn named_options_before_the_dashes_and_negative_parameters() {
        let o = run(&["--bb=false", "-5", "-kk"]).unwrap();
        assert_eq!(o.named[1], OptionValue::Bool(false));
        assert_eq!(o.parameters, ["-5"]);
        assert!(o.helper_errors);
    }

    #[test]
    fn mistakes_are_errors() {
        for bad in [
            &["--zzz=1"][..],
            &["-f", "xml"],
            &["-B", "sometimes"],
            &["--", "--aa=x"],
            &["-p", "99999999"],
            &["-p", "abc"],
            &["--map", "@x"],
            &["-z"],
            &["--quiet=1"],
        ] {
            assert!(run(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn numbers() {
        for (text, want) in [
            ("42", Some(42)),
            ("0x10", Some(16)),
            ("010", Some(8)),
            ("1_000", Some(1000)),
            ("5ms", Some(5_000_000)),
            ("1e3", Some(1000)),
            ("-5", Some(-5)),
            ("18446744073709551615", Some(-1)),
            ("abc", None),
            ("", None),
            ("5x", None),
        ] {
            assert_eq!(parse_number(text), want, "{text}");
        }
    }
}
