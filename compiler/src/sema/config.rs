//! Settings: one table row per variable of the config block.
//!
//! In: the config block, `NAME=VALUE` pairs of the build's environment. Out:
//! checked (name, value) pairs; those that size code also as limits. The
//! runtime reads the rest from the manifest, and its own environment wins.

use crate::diagnostic::Diagnostic;
use crate::hir::tree::Limits;
use crate::syntax::ast;

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Number from..=to.
    Number(u64, u64),
    /// `true`/`false`, `1`/`0`.
    Bool,
    /// One of these words.
    Word(&'static [&'static str]),
    /// May something be used that bpftrace calls unstable: `enable`, `warn`, `error`, a bool.
    Unstable,
    /// Any text.
    Text,
}

/// A setting.
#[derive(Debug)]
pub struct Setting {
    /// Name in the config block.
    pub name: &'static str,
    /// Names in the environment, today's first.
    pub environment: &'static [&'static str],
    /// Values.
    pub form: Form,
}

/// All settings.
pub static SETTINGS: &[Setting] = &[
    Setting {
        name: "cache_user_symbols",
        environment: &["BPFTRACE_CACHE_USER_SYMBOLS"],
        form: Form::Word(&["PER_PID", "PER_PROGRAM", "NONE"]),
    },
    Setting { name: "cpp_demangle", environment: &["BPFTRACE_CPP_DEMANGLE"], form: Form::Bool },
    Setting { name: "lazy_symbolication", environment: &["BPFTRACE_LAZY_SYMBOLICATION"], form: Form::Bool },
    Setting {
        name: "license",
        environment: &["BPFTRACE_LICENSE"],
        form: Form::Word(&[
            "GPL",
            "GPL v2",
            "GPL and additional rights",
            "Dual BSD/GPL",
            "Dual MIT/GPL",
            "Dual MPL/GPL",
        ]),
    },
    Setting { name: "log_size", environment: &["BPFTRACE_LOG_SIZE"], form: Form::Number(0, u32::MAX as u64) },
    Setting { name: "max_bpf_progs", environment: &["BPFTRACE_MAX_BPF_PROGS"], form: Form::Number(1, 1 << 20) },
    Setting {
        name: "max_cat_bytes",
        environment: &["BPFTRACE_MAX_CAT_BYTES", "BPFTRACE_CAT_BYTES_MAX"],
        form: Form::Number(0, u32::MAX as u64),
    },
    Setting {
        name: "max_map_keys",
        environment: &["BPFTRACE_MAX_MAP_KEYS", "BPFTRACE_MAP_KEYS_MAX"],
        form: Form::Number(1, u32::MAX as u64 / 2),
    },
    Setting { name: "max_probes", environment: &["BPFTRACE_MAX_PROBES"], form: Form::Number(1, 1 << 24) },
    Setting {
        name: "max_strlen",
        environment: &["BPFTRACE_MAX_STRLEN", "BPFTRACE_STRLEN"],
        form: Form::Number(1, 1 << 16),
    },
    Setting {
        name: "missing_probes",
        environment: &["BPFTRACE_MISSING_PROBES"],
        form: Form::Word(&["error", "warn", "ignore"]),
    },
    Setting { name: "on_stack_limit", environment: &["BPFTRACE_ON_STACK_LIMIT"], form: Form::Number(0, 512) },
    Setting { name: "perf_rb_pages", environment: &["BPFTRACE_PERF_RB_PAGES"], form: Form::Number(0, 1 << 20) },
    Setting { name: "print_maps_on_exit", environment: &["BPFTRACE_PRINT_MAPS_ON_EXIT"], form: Form::Bool },
    Setting { name: "show_debug_info", environment: &["BPFTRACE_SHOW_DEBUG_INFO"], form: Form::Bool },
    Setting {
        name: "stack_mode",
        environment: &["BPFTRACE_STACK_MODE"],
        form: Form::Word(&["bpftrace", "perf", "raw", "build_id"]),
    },
    Setting { name: "str_trunc_trailer", environment: &["BPFTRACE_STR_TRUNC_TRAILER"], form: Form::Text },
    Setting { name: "unstable_dw_ustack", environment: &["BPFTRACE_UNSTABLE_DW_USTACK"], form: Form::Unstable },
    Setting {
        name: "unstable_import_statement",
        environment: &["BPFTRACE_UNSTABLE_IMPORT_STATEMENT"],
        form: Form::Unstable,
    },
    Setting { name: "unstable_tseries", environment: &["BPFTRACE_UNSTABLE_TSERIES"], form: Form::Unstable },
    Setting { name: "unstable_typeinfo", environment: &["BPFTRACE_UNSTABLE_TYPEINFO"], form: Form::Unstable },
    Setting { name: "use_blazesym", environment: &["BPFTRACE_USE_BLAZESYM"], form: Form::Bool },
];

/// Settings of older versions that mean nothing any more.
const GONE: &[&str] = &[
    "max_type_res_iterations",
    "symbol_source",
    "unstable_addr",
    "unstable_import",
    "unstable_macro",
    "unstable_map_decl",
];

/// Names of older versions.
const RENAMED: &[(&str, &str)] =
    &[("cat_bytes_max", "max_cat_bytes"), ("map_keys_max", "max_map_keys"), ("strlen", "max_strlen")];

/// Name of `max_strlen` before 0.23.
const OLD_STRLEN: &str = "BPFTRACE_STRLEN";

/// The setting of a name.
pub fn find(name: &str) -> Option<&'static Setting> {
    // The block takes the names of the environment, too, in either case.
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix("bpftrace_").unwrap_or(&name);
    let name = RENAMED.iter().find(|(old, _)| *old == name).map_or(name, |(_, new)| new);
    SETTINGS.iter().find(|s| s.name == name)
}

/// Names of all settings.
pub fn names() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|s| s.name)
}

/// The value of a setting; the last one given counts.
pub fn value<'a>(settings: &'a [(String, String)], name: &str) -> Option<&'a str> {
    settings.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

/// Checks a value; the canonical form or what is wrong.
pub fn check(setting: &Setting, value: &str) -> Result<String, String> {
    match setting.form {
        Form::Text => Ok(value.to_string()),
        Form::Bool => match truth(value) {
            Some(on) => Ok(u8::from(on).to_string()),
            None => Err("true or false is expected".into()),
        },
        Form::Unstable => match value.to_ascii_lowercase().as_str() {
            "enable" => Ok("enable".into()),
            "error" => Ok("error".into()),
            "warn" => Ok("warn".into()),
            word => match truth(word) {
                Some(on) => Ok(if on { "enable" } else { "error" }.into()),
                None => Err("enable, warn or error is expected".into()),
            },
        },
        Form::Number(low, high) => match value.parse::<u64>() {
            Ok(n) if (low..=high).contains(&n) => Ok(n.to_string()),
            _ => Err(format!("a number from {low} to {high} is expected")),
        },
        Form::Word(words) => match words.iter().find(|w| w.eq_ignore_ascii_case(value)) {
            Some(w) => Ok(w.to_string()),
            None => Err(format!("one of {} is expected", words.join(", "))),
        },
    }
}

/// The words and numbers that stand for true and false.
fn truth(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        number => number.parse::<u64>().ok().map(|n| n != 0),
    }
}

/// Limits that follow from settings.
pub fn limits(settings: &[(String, String)]) -> Limits {
    let number = |name: &str, default: u32| value(settings, name).and_then(|v| v.parse().ok()).unwrap_or(default);
    let d = Limits::default();
    Limits {
        // 1024 is the default written out, with the same meaning.
        max_strlen: match number("max_strlen", d.max_strlen) {
            1024 => d.max_strlen,
            n => n,
        },
        on_stack_limit: number("on_stack_limit", d.on_stack_limit),
    }
}

/// Settings that the environment of the build gives.
pub fn from_environment(get: impl Fn(&str) -> Option<String>) -> Result<Vec<(String, String)>, String> {
    let mut out = Vec::new();
    for setting in SETTINGS {
        // Today's name wins over the old one.
        let Some((variable, value)) = setting.environment.iter().find_map(|v| Some((v, get(v)?))) else { continue };
        let value = check(setting, &value).map_err(|why| format!("{variable}={value}: {why}"))?;
        if *variable == OLD_STRLEN {
            // As the versions did that knew this name: room for the NUL is counted, no trailer.
            let kept = value.parse::<u64>().unwrap_or(1).saturating_sub(1).max(1);
            out.push((setting.name.to_string(), kept.to_string()));
            out.push(("str_trunc_trailer".to_string(), String::new()));
            continue;
        }
        out.push((setting.name.to_string(), value));
    }
    Ok(out)
}

/// Reads a config block.
pub fn read(entries: &[ast::ConfigEntry]) -> (Vec<(String, String)>, Vec<Diagnostic>) {
    let (mut out, mut diagnostics) = (Vec::new(), Vec::new());
    for entry in entries {
        if GONE.contains(&entry.name.value.as_str()) {
            let d = Diagnostic::warning("W0310", format!("the setting `{}` has no effect", entry.name.value));
            diagnostics.push(d.at(entry.name.span, "of an older version"));
            continue;
        }
        let Some(setting) = find(&entry.name.value) else {
            let mut d = Diagnostic::error("E0310", format!("unknown setting `{}`", entry.name.value))
                .at(entry.name.span, "not a setting");
            if let Some(close) = crate::ctypes::nearest(&entry.name.value, names()) {
                d = d.help(format!("did you mean `{close}`?"));
            }
            diagnostics.push(d);
            continue;
        };
        let written = match &entry.value.kind {
            ast::ExprKind::Integer { value, .. } => value.to_string(),
            ast::ExprKind::Bool(b) => u8::from(*b).to_string(),
            ast::ExprKind::Identifier(word) => word.clone(),
            ast::ExprKind::String(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        };
        match check(setting, &written) {
            Ok(value) => out.push((setting.name.to_string(), value)),
            Err(why) => diagnostics.push(
                Diagnostic::error("E0311", format!("invalid value for `{}`", setting.name)).at(entry.value.span, why),
            ),
        }
    }
    (out, diagnostics)
}
