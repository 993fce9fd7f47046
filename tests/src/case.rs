//! Test cases: files in, [`Case`] out. `tests/cases/README.md` describes them.
//!
//! Knows the format only; what a case does is `script`, what it must show is
//! `verdict`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::root;

/// Where fixtures, scripts and tracers lie while cases run. Cases name this path.
pub const STAGE: &str = "/tmp/btc-tests";

/// Keys that a `.cmd` file may hold.
const KEYS: &[&str] = &[
    "args",
    "bg",
    "build",
    "c",
    "env",
    "exit",
    "file",
    "flags",
    "keep",
    "lacks",
    "min_kernel",
    "mode",
    "needs",
    "oracle",
    "post",
    "pre",
    "retry",
    "sort",
    "stdin",
    "streams",
    "timeout",
    "until",
    "wants",
];

/// Where a case can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// The kernel the tests run on.
    Host,
    /// Kernels with kprobes, fentry, iterators: the virtual machines.
    Vm,
    /// Both of them.
    Both,
}

/// How the script reaches the compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As a file.
    File,
    /// With `-e`.
    Inline,
    /// On standard input.
    Stdin,
    /// There is none: the tool is run with `args`.
    Tool,
}

/// One test case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Name of its files, without extension.
    pub name: String,
    /// The script; empty in [`Mode::Tool`].
    pub script: String,
    /// Exact output, if stated.
    pub out: Option<String>,
    /// Regular expression for the whole output, if stated.
    pub re: Option<String>,
    /// `env:` lines, `K=V`.
    pub env: Vec<(String, String)>,
    keys: BTreeMap<String, String>,
}

impl Case {
    /// The value of a key of the `.cmd` file, or nothing.
    pub fn get(&self, key: &str) -> &str {
        debug_assert!(KEYS.contains(&key), "unknown key {key}");
        self.keys.get(key).map_or("", String::as_str)
    }

    /// Where it can run.
    pub fn needs(&self) -> Needs {
        match self.get("needs") {
            "vm" => Needs::Vm,
            "both" => Needs::Both,
            _ => Needs::Host,
        }
    }

    /// How the script reaches the compiler.
    pub fn mode(&self) -> Mode {
        match self.get("mode") {
            "inline" => Mode::Inline,
            "stdin" => Mode::Stdin,
            "tool" => Mode::Tool,
            _ => Mode::File,
        }
    }

    /// Seconds it may take.
    pub fn timeout(&self) -> u32 {
        self.get("timeout").parse().unwrap_or(20)
    }

    /// Whether `kernel` (such as "6.12") is new enough.
    pub fn runs_on(&self, kernel: &str) -> bool {
        let number = |v: &str| -> (u32, u32) {
            let mut parts = v.split('.').map(|p| p.parse().unwrap_or(0));
            (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
        };
        self.get("min_kernel").is_empty() || number(kernel) >= number(self.get("min_kernel"))
    }

    /// Why this machine cannot build it: a program that it wants is not installed.
    pub fn unbuildable(&self) -> Option<String> {
        let wanted = self.get("wants");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).any(|dir| dir.join(wanted).is_file());
        (!wanted.is_empty() && !found).then(|| format!("no {wanted} to build with"))
    }

    fn read(dir: &Path, name: &str) -> Result<Self, String> {
        let text = |ext: &str| fs::read_to_string(dir.join(format!("{name}.{ext}"))).ok();
        let mut case = Case {
            name: name.to_owned(),
            script: text("bt").unwrap_or_default(),
            out: text("out"),
            re: text("re"),
            env: Vec::new(),
            keys: BTreeMap::new(),
        };
        for line in text("cmd").unwrap_or_default().lines() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once(':').ok_or_else(|| format!("{name}.cmd: no key in {line:?}"))?;
            let (key, value) = (key.trim(), value.trim());
            if !KEYS.contains(&key) {
                return Err(format!("{name}.cmd: unknown key {key:?}"));
            }
            if key == "env" {
                let (k, v) = value.split_once('=').ok_or_else(|| format!("{name}.cmd: env without ="))?;
                case.env.push((k.to_owned(), v.to_owned()));
            } else {
                case.keys.insert(key.to_owned(), value.to_owned());
            }
        }
        if let Some(file) = case.keys.get("file") {
            case.script = fs::read_to_string(root().join(file)).map_err(|e| format!("{name}.cmd: {file}: {e}"))?;
        }
        if case.script.is_empty() && case.mode() != Mode::Tool {
            return Err(format!("{name}: no script"));
        }
        Ok(case)
    }
}

/// All cases below `dir`, by name.
pub fn all(dir: &Path) -> Result<Vec<Case>, String> {
    let mut cases = BTreeMap::new();
    let list = |d: &Path| -> Result<Vec<_>, String> {
        let entries = fs::read_dir(d).map_err(|e| format!("{}: {e}", d.display()))?;
        entries.map(|e| e.map(|e| e.path()).map_err(|e| e.to_string())).collect()
    };
    for group in list(dir)?.into_iter().filter(|p| p.is_dir()) {
        for file in list(&group)? {
            let ext = file.extension().and_then(|e| e.to_str()).unwrap_or_default();
            let name = file.file_stem().and_then(|n| n.to_str()).unwrap_or_default();
            if matches!(ext, "bt" | "cmd") && !cases.contains_key(name) {
                cases.insert(name.to_owned(), Case::read(&group, name)?);
            }
        }
    }
    Ok(cases.into_values().collect())
}
