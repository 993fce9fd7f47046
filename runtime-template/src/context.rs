//! What every stage of a run needs to see: the script's manifest, the command
//! line, the settings in force and the target's kernel.

use crate::options::{Options, parse_number};
use crate::settings::Settings;
use crate::target::btf::Btf;
use crate::target::features::Features;
use crate::target::files;
use anyhow::{Context as _, Result, anyhow, bail};
use btc_payload::manifest::{LocationId, Manifest, UNSAFE};
use btc_payload::probe::{Number, Text};
use std::borrow::Cow;
use std::cell::OnceCell;

/// See the head of this file.
pub struct Context<'a> {
    /// The script.
    pub manifest: &'a Manifest,
    /// Text of the script; empty where nobody will see it.
    pub source: Cow<'a, str>,
    /// The command line.
    pub options: Options,
    /// Settings in force.
    pub settings: Settings,
    /// The kernel.
    pub features: Features,
    /// Process id of the `-c` child.
    pub child: Option<u32>,
    btf: OnceCell<Result<Btf, String>>,
}

impl<'a> Context<'a> {
    /// Without a child yet.
    pub fn new(manifest: &'a Manifest, options: Options, settings: Settings) -> Context<'a> {
        let (features, btf) = (Features::without(&options.no_features), OnceCell::new());
        Context { manifest, source: Cow::Borrowed(""), options, settings, features, child: None, btf }
    }

    /// `$N` as it was given.
    pub fn parameter(&self, n: u32) -> Option<&str> {
        self.options.parameters.get((n as usize).checked_sub(1)?).map(String::as_str)
    }

    /// A text of an attach point with its parameters filled in.
    pub fn text(&self, text: &Text) -> Result<String> {
        text.resolve(|n| self.parameter(n).map(str::to_string))
            .map_err(|n| anyhow!("parameter ${n} is part of an attach point, but was not given; see --help"))
    }

    /// An attach point as it was written, with its parameters filled in.
    pub fn filled(&self, written: &str) -> String {
        let given = self.options.parameters.iter().enumerate().rev();
        given.fold(written.to_string(), |text, (n, value)| text.replace(&format!("${}", n + 1), value))
    }

    /// A number of an attach point.
    pub fn number(&self, number: Number) -> Result<u64> {
        match number {
            Number::Literal(v) => Ok(v),
            Number::Parameter(n) => {
                let text = self.parameter(n).with_context(|| {
                    format!("parameter ${n} is part of an attach point, but was not given; see --help")
                })?;
                match parse_number(text) {
                    Some(v) => Ok(v as u64),
                    None => bail!("parameter ${n} must be a number, but `{text}` is none"),
                }
            }
        }
    }

    /// The process of `-p` or `-c`, to which probes in user memory are restricted.
    pub fn traced_pid(&self) -> Option<u32> {
        self.options.pid.or(self.child)
    }

    /// Paths of the binaries that a name means (`files::binaries`). Without a name, the
    /// program of the traced process; `*` for a command that has not begun is its
    /// program, too, because that is all it maps so far.
    pub fn binaries(&self, name: &str) -> Result<Vec<String>> {
        let (pid, command) = (self.options.pid, self.options.command.as_deref());
        match (name, pid, command) {
            ("", Some(pid), _) => Ok(vec![format!("/proc/{pid}/exe")]),
            ("" | "*", None, Some(command)) => Ok(vec![crate::child::program(command)?]),
            _ => files::binaries(name, self.traced_pid()),
        }
    }

    /// May places be probed where that can harm the traced program?
    pub fn allows_unsafe(&self) -> bool {
        self.options.allow_unsafe || self.settings.is(UNSAFE)
    }

    /// The kernel's BTF, read when first asked for.
    pub fn btf(&self) -> Result<&Btf> {
        let read = || Btf::kernel(self.options.btf.as_deref()).map_err(|e| format!("{e:#}"));
        self.btf.get_or_init(read).as_ref().map_err(|e| anyhow!("{e}"))
    }

    /// `file:line:column` of a place in the script.
    pub fn place(&self, location: LocationId) -> String {
        let l = self.manifest.locations.get(location.0 as usize);
        l.map_or_else(String::new, |l| format!("{}:{}:{}", l.file, l.line, l.column))
    }
}
