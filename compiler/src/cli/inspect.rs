//! `btc inspect`: what a built tracer is made of.
//!
//! In: a tracer. Out: its manifest as text.

use crate::link;
use anyhow::{Context, Result, bail};
use btc_payload::header;
use std::path::Path;
use std::process::ExitCode;

/// `btc inspect`.
pub(super) fn inspect(file: &Path) -> Result<ExitCode> {
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
