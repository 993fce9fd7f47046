//! `btc inspect`: what a built tracer is made of.
//!
//! In: a tracer. Out: its manifest as text.

use crate::btf::sites;
use crate::link;
use anyhow::{Context, Result, bail};
use btc_payload::header;
use btc_payload::start::StartValue;
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
    for p in m.programs.iter().filter(|p| !p.written.is_empty()) {
        println!("probe       {}", p.written);
    }
    for map in m.maps.iter().filter(|map| map.role == btc_payload::manifest::MapRole::Script) {
        println!("map         {} ({:?})", map.name, map.kind);
    }
    for r in &m.requirements {
        println!("requires    {:?} for {}", r.feature, r.construct);
    }
    for relocation in sites::relocations(&payload.object)? {
        println!("relocation  {relocation}");
    }
    for symbol in sites::kernel_symbols(&payload.object)? {
        println!("symbol      {symbol}");
    }
    for slot in &m.slots {
        if let Some(what) = start_value(&slot.value) {
            println!("at start    {what}");
        }
    }
    for o in &m.options {
        println!("option      --{} (default {:?})", o.name, o.default);
    }
    for (name, value) in &m.settings {
        println!("setting     {name} = {value}");
    }
    Ok(ExitCode::SUCCESS)
}

/// What the tracer looks up when it starts; parameters and its own facts are no news.
fn start_value(value: &StartValue) -> Option<String> {
    use StartValue::*;
    Some(match value {
        KernelAddress(name) => format!("address of kernel symbol {name}"),
        PerCpuAddress(name) => format!("address of per-CPU symbol {name}"),
        CgroupId(path) => format!("id of cgroup {path}"),
        UserAddress { path, symbol, .. } => format!("address of {symbol} in {path}"),
        KfuncExists(name) => format!("whether kfunc {name} exists"),
        KfuncAllowed { name, .. } => format!("whether kfunc {name} may be called"),
        Feature(feature) => format!("whether the kernel has {feature:?}"),
        _ => return None,
    })
}
