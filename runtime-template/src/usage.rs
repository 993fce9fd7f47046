//! What a tracer says about itself: help, about, list. Needs no privileges.

use crate::options::FLAGS;
use btc_payload::manifest::{Manifest, MapRole, OptionValue, Positional, Program};
use btc_payload::probe::AttachPoint;
use std::collections::BTreeSet;
use std::fmt::Write;

/// First column of the help, in characters.
const COLUMN: usize = 28;

/// `--help`.
pub fn help(manifest: &Manifest, program: &str) -> String {
    let mut out = String::new();
    let about = manifest.script.about.trim_end();
    if !about.is_empty() {
        let _ = writeln!(out, "{about}\n");
    }
    let parameters: String =
        (1..=manifest.positional.len()).map(|n| format!(" [{}]", parameter(n, manifest))).collect();
    let _ = writeln!(out, "USAGE:\n    {program} [options]{parameters}");
    if !manifest.positional.is_empty() {
        out.push_str("\nPARAMETERS:\n");
        for (i, p) in manifest.positional.iter().enumerate() {
            row(&mut out, &format!("${}", i + 1), &describe(p));
        }
    }
    if !manifest.options.is_empty() {
        out.push_str("\nSCRIPT OPTIONS:\n");
        for o in &manifest.options {
            let (value, default) = match &o.default {
                OptionValue::Int(v) => ("=NUMBER", format!("default {v}")),
                OptionValue::Text(t) => ("=TEXT", format!("default \"{t}\"")),
                OptionValue::Bool(b) => ("", format!("default {b}")),
            };
            let help = if o.help.is_empty() { default } else { format!("{} ({default})", o.help) };
            row(&mut out, &format!("--{}{value}", o.name), &help);
        }
    }
    out.push_str("\nOPTIONS:\n");
    for f in FLAGS.iter().filter(|f| !f.help.is_empty()) {
        let value = f.value.map(|v| format!(" {v}")).unwrap_or_default();
        row(&mut out, &format!("{}{value}", f.names.join(", ")), f.help);
    }
    let example: String = (1..=manifest.positional.len()).map(|n| format!(" {}", parameter(n, manifest))).collect();
    let _ = write!(
        out,
        "\nEXAMPLES:\n    sudo {program}{example}\n    sudo {program} -f json -o out.json{example}\n    {program} --check\n"
    );
    out
}

fn parameter(n: usize, manifest: &Manifest) -> String {
    match manifest.positional.get(n - 1) {
        Some(p) if p.number && !p.text => format!("NUMBER{n}"),
        _ => format!("TEXT{n}"),
    }
}

fn describe(p: &Positional) -> String {
    let kind = match (p.number, p.text) {
        (true, true) => "number, also shown as text (default 0, \"\")",
        (true, false) => "number (default 0)",
        _ => "text (default \"\")",
    };
    format!("{kind}{}", if p.probe { "; names what is traced" } else { "" })
}

fn row(out: &mut String, name: &str, help: &str) {
    let gap = if name.chars().count() + 1 > COLUMN { format!("\n{:1$}", "", COLUMN + 4) } else { String::new() };
    let _ =
        if gap.is_empty() { writeln!(out, "    {name:COLUMN$}{help}") } else { writeln!(out, "    {name}{gap}{help}") };
}

/// `--version`.
pub fn version(manifest: &Manifest) -> String {
    format!("{} (built by btc {})\n", manifest.script.name, manifest.compiler)
}

/// The script's own programs; those that the compiler adds have no name.
fn shown(manifest: &Manifest) -> impl Iterator<Item = &Program> {
    manifest.programs.iter().filter(|p| !p.written.is_empty())
}

/// `--about`.
pub fn about(manifest: &Manifest) -> String {
    let s = &manifest.script;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "script:   {}\nsha256:   {}\nlicence:  {}\nbuilt by: btc {}",
        s.name, s.digest, s.license, manifest.compiler
    );
    let _ = writeln!(out, "kernel:   Linux {} or newer, with BTF", minimum_kernel(manifest));
    for p in shown(manifest) {
        let _ = writeln!(out, "probe:    {}", p.written);
    }
    out
}

/// `--list`.
pub fn list(manifest: &Manifest) -> String {
    let mut out = String::new();
    for p in shown(manifest) {
        let _ = writeln!(out, "probe    {}", p.written);
    }
    for m in manifest.maps.iter().filter(|m| m.role == MapRole::Script) {
        let entries = m.max_entries.map_or("max_map_keys".to_string(), |n| n.to_string());
        let _ = writeln!(out, "map      {} ({:?}, {entries} entries)", m.name, m.kind);
    }
    for name in capabilities(manifest) {
        let _ = writeln!(out, "needs    {name}");
    }
    let _ = writeln!(out, "kernel   {}", minimum_kernel(manifest));
    for r in &manifest.requirements {
        let (name, since) = crate::target::features::describe(r.feature);
        let _ = writeln!(out, "feature  {name} (Linux {since}) for {}", r.construct);
    }
    out
}

/// Capabilities that the script's probes take.
pub fn capabilities(manifest: &Manifest) -> BTreeSet<&'static str> {
    let mut names = BTreeSet::from(["CAP_BPF", "CAP_PERFMON"]);
    for p in &manifest.programs {
        if matches!(p.attach, AttachPoint::Kprobe { .. } | AttachPoint::KprobeAddress { .. }) {
            names.insert("CAP_SYSLOG");
        }
        if matches!(p.attach, AttachPoint::Tracepoint { .. }) {
            names.insert("CAP_DAC_READ_SEARCH");
        }
    }
    names
}

/// The oldest kernel that can have all required features; 5.8 is where ring
/// buffers begin.
fn minimum_kernel(manifest: &Manifest) -> String {
    let number = |v: &str| {
        let (major, minor) = v.split_once('.').unwrap_or((v, "0"));
        (major.parse::<u32>().unwrap_or(0), minor.parse::<u32>().unwrap_or(0))
    };
    let wanted = manifest.requirements.iter().map(|r| number(crate::target::features::describe(r.feature).1));
    let (major, minor) = wanted.max().unwrap_or((5, 8)).max((5, 8));
    format!("{major}.{minor}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use btc_payload::manifest::{NamedOption, Requirement, Script};
    use btc_payload::start::Feature;

    #[test]
    fn help_shows_what_the_script_declares() {
        let manifest = Manifest {
            script: Script { name: "x.bt".into(), about: "Shows x.".into(), ..Script::default() },
            positional: vec![Positional { number: true, ..Positional::default() }],
            options: vec![NamedOption { name: "limit".into(), default: OptionValue::Int(5), help: "stop then".into() }],
            requirements: vec![Requirement {
                feature: Feature::Loop,
                construct: "for".into(),
                location: Default::default(),
            }],
            ..Manifest::default()
        };
        let text = help(&manifest, "x");
        for part in
            ["Shows x.", "USAGE:", "x [options] [NUMBER1]", "--limit=NUMBER", "stop then (default 5)", "-p, --pid PID"]
        {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!text.contains("--unsafe"));
        assert_eq!(minimum_kernel(&manifest), "5.17");
    }
}
