//! Values to text: what the bytes of records and maps look like to people and
//! to programs.
//!
//! In: a type and bytes. Out: text appended to a buffer. Never fails: bytes
//! that are missing read as zero.

pub mod hist;
pub mod json;
pub mod map;
pub mod names;
pub mod number;
pub mod printf;
pub mod series;
pub mod stack;
pub mod text;
pub mod time;

use crate::options::OutputFormat;
use crate::symbols::kernel::KernelSymbols;
use crate::symbols::user::UserSymbols;
use btc_payload::manifest::Manifest;
use std::collections::HashMap;

/// All that rendering needs besides the bytes.
pub struct Renderer<'a> {
    /// The script.
    pub manifest: &'a Manifest,
    /// Full name and function part by attach-point id minus one.
    pub probes: Vec<(String, String)>,
    /// Positional parameters.
    pub parameters: Vec<String>,
    /// What follows a string that was cut.
    pub trailer: String,
    /// Wall clock minus boot clock, in nanoseconds.
    pub wall_offset: i64,
    /// Kernel symbols.
    pub kernel: KernelSymbols,
    /// User symbols.
    pub user: UserSymbols,
    /// Names of enumerations whose values are the target's.
    pub enums: Vec<Vec<(i64, String)>>,
    /// Paths of cgroups that were asked for.
    pub cgroups: HashMap<u64, Vec<(String, String)>>,
    /// User names by id, once read.
    pub users: Option<HashMap<u32, String>>,
    /// Form of the output.
    pub format: OutputFormat,
}

impl Renderer<'_> {
    /// Is the output JSON?
    pub fn is_json(&self) -> bool {
        self.format == OutputFormat::Json
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A renderer for a script of which nothing is known.
    pub fn renderer(manifest: &Manifest) -> Renderer<'_> {
        Renderer {
            manifest,
            probes: vec![("kprobe:vfs_read".into(), "vfs_read".into())],
            parameters: vec!["one".into(), "20".into()],
            trailer: "..".into(),
            wall_offset: 0,
            kernel: KernelSymbols::default(),
            user: UserSymbols::default(),
            enums: vec![vec![(1, "AA".into()), (2, "BB".into())]],
            cgroups: HashMap::new(),
            users: Some(HashMap::from([(0, "root".to_string())])),
            format: OutputFormat::Text,
        }
    }
}
