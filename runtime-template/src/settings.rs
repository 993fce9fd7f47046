//! Settings in force: what the script and the build set, overridden by the
//! environment.
//!
//! In: (name, value) pairs of the manifest, `BPFTRACE_*` variables. Out: typed
//! values. Names are those of the config block, in lower case; old names are
//! accepted.

use anyhow::{Result, bail};
use std::collections::BTreeMap;

/// What a setting's value must be.
#[derive(Clone, Copy)]
enum Kind {
    Number,
    Bool,
    Text,
    OneOf(&'static [&'static str]),
}

/// Name, kind and default of each setting that the tracer reads.
const SETTINGS: &[(&str, Kind, &str)] = &[
    ("max_map_keys", Kind::Number, "4096"),
    ("max_probes", Kind::Number, "1024"),
    ("max_bpf_progs", Kind::Number, "1024"),
    ("max_strlen", Kind::Number, "1024"),
    ("max_cat_bytes", Kind::Number, "10240"),
    ("on_stack_limit", Kind::Number, "32"),
    // 4 MiB of ring; bpftrace's own default is smaller and loses events.
    ("perf_rb_pages", Kind::Number, "1024"),
    ("log_size", Kind::Number, "1000000"),
    ("missing_probes", Kind::OneOf(&["error", "warn", "ignore"]), "error"),
    ("print_maps_on_exit", Kind::Bool, "true"),
    ("str_trunc_trailer", Kind::Text, ".."),
    ("stack_mode", Kind::OneOf(&["bpftrace", "perf", "raw", "build_id"]), "bpftrace"),
    ("cache_user_symbols", Kind::OneOf(&["PER_PROGRAM", "PER_PID", "NONE"]), "PER_PID"),
    ("cpp_demangle", Kind::Bool, "true"),
    ("lazy_symbolication", Kind::Bool, "false"),
    ("show_debug_info", Kind::Bool, "true"),
    ("user_symbols", Kind::Bool, "true"),
];

/// Old names of settings; the last column says that the meaning is inverted.
const OLD_NAMES: &[(&str, &str, bool)] = &[
    ("map_keys_max", "max_map_keys", false),
    ("cat_bytes_max", "max_cat_bytes", false),
    ("strlen", "max_strlen", false),
    ("no_cpp_demangle", "cpp_demangle", true),
    ("no_user_symbols", "user_symbols", true),
];

/// Settings by name.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    values: BTreeMap<String, String>,
}

impl Settings {
    /// Merges defaults, the manifest's pairs and the environment, in that order.
    pub fn new(manifest: &[(String, String)], env: impl Iterator<Item = (String, String)>) -> Result<Settings> {
        let mut s = Settings { values: SETTINGS.iter().map(|&(n, _, d)| (n.into(), d.into())).collect() };
        for (name, value) in manifest {
            s.set(name, value)?;
        }
        // Sorted, so that of two spellings of one setting the same one always wins.
        let env: BTreeMap<String, String> = env.filter(|(n, _)| n.starts_with("BPFTRACE_")).collect();
        for (name, value) in &env {
            let short = name["BPFTRACE_".len()..].to_ascii_lowercase();
            if SETTINGS.iter().any(|r| r.0 == short) || OLD_NAMES.iter().any(|r| r.0 == short) {
                s.set(&short, value)?;
            }
        }
        Ok(s)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let lower = name.to_ascii_lowercase();
        let old = OLD_NAMES.iter().find(|r| r.0 == lower);
        let name = old.map_or(lower.as_str(), |r| r.1);
        let Some(&(_, kind, _)) = SETTINGS.iter().find(|r| r.0 == name) else {
            // Settings of the compiler are recorded in the manifest, too.
            self.values.insert(name.to_string(), value.to_string());
            return Ok(());
        };
        let value = match kind {
            Kind::Number if crate::options::parse_number(value).is_some_and(|n| n >= 0) => value.to_string(),
            Kind::Number => bail!("setting {name}: `{value}` is no number; give one, such as 4096"),
            Kind::Bool => match parse_bool(value) {
                Some(b) => (b != old.is_some_and(|r| r.2)).to_string(),
                None => bail!("setting {name}: `{value}` is neither true nor false"),
            },
            Kind::Text => value.to_string(),
            Kind::OneOf(allowed) => match allowed.iter().find(|a| a.eq_ignore_ascii_case(value)) {
                Some(a) => (*a).to_string(),
                // Only this one has numbers as old spellings.
                None if name == "cache_user_symbols" && value == "1" => "PER_PROGRAM".into(),
                None if name == "cache_user_symbols" && value == "0" => "NONE".into(),
                None => bail!("setting {name}: `{value}` is none of {}", allowed.join(", ")),
            },
        };
        self.values.insert(name.to_string(), value);
        Ok(())
    }

    /// A setting's text; empty when unknown.
    pub fn text(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// A setting as a number; booleans are 0 and 1.
    pub fn number(&self, name: &str) -> u64 {
        match self.text(name) {
            "true" => 1,
            text => crate::options::parse_number(text).map_or(0, |n| n.max(0) as u64),
        }
    }

    /// A setting as a truth value.
    pub fn is(&self, name: &str) -> bool {
        self.text(name) == "true"
    }
}

/// `1`, `true`, `yes`, `on`, `enable` and their opposites.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" | "enable" => Some(true),
        "0" | "false" | "no" | "off" | "disable" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(manifest: &[(&str, &str)], env: &[(&str, &str)]) -> Result<Settings> {
        let own = |l: &[(&str, &str)]| l.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect::<Vec<_>>();
        Settings::new(&own(manifest), own(env).into_iter())
    }

    #[test]
    fn environment_wins_and_old_names_work() {
        let s = settings(&[("max_map_keys", "50")], &[("BPFTRACE_MAP_KEYS_MAX", "7")]).unwrap();
        assert_eq!(s.number("max_map_keys"), 7);
        let s = settings(&[], &[("BPFTRACE_NO_CPP_DEMANGLE", "1"), ("BPFTRACE_UNKNOWN", "x")]).unwrap();
        assert!(!s.is("cpp_demangle"));
        assert_eq!(s.number("print_maps_on_exit"), 1);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(settings(&[], &[("BPFTRACE_CACHE_USER_SYMBOLS", "SOMETIMES")]).is_err());
        assert!(settings(&[("max_probes", "many")], &[]).is_err());
        assert!(settings(&[], &[("BPFTRACE_PRINT_MAPS_ON_EXIT", "maybe")]).is_err());
    }
}
