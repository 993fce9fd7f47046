//! Kernel functions through BPF trampolines.

use super::{Found, How};
use crate::context::Context;
use crate::sys;
use crate::target::btf::Btf;
use crate::target::functions;
use anyhow::{Context as _, Result};
use btc_payload::probe::{Text, is_pattern, pattern_matches};
use std::os::fd::{BorrowedFd, OwnedFd};

/// Matches functions.
pub fn expand(context: &Context<'_>, ret: bool, module: Option<&Text>, function: &Text) -> Result<Vec<Found>> {
    let kind = if ret { "fexit" } else { "fentry" };
    let module = module.map(|m| context.text(m)).transpose()?;
    let function = context.text(function)?;
    if let Some(rest) = module.as_deref().filter(|m| *m == "bpf" || m.starts_with("bpf:")) {
        let id = rest.strip_prefix("bpf:").and_then(|id| id.parse().ok());
        return Ok(bpf_programs(id, &function)
            .into_iter()
            .map(|(id, name)| Found {
                probe: format!("{kind}:bpf:{id}:{name}"),
                function: name.clone(),
                how: How::Fentry { function: format!("bpf:{id}:{name}") },
            })
            .collect());
    }
    let found = |owner: &str, name: &str| {
        let target = if owner == "vmlinux" { name.to_string() } else { format!("{owner}:{name}") };
        Found {
            probe: format!("{kind}:{owner}:{name}"),
            function: name.to_string(),
            how: How::Fentry { function: target },
        }
    };
    if is_pattern(&function) || module.as_deref().is_some_and(is_pattern) {
        let matching = functions::matching(module.as_deref(), &function, context.options.traceable.as_deref())?;
        // Functions without BTF cannot have a trampoline.
        let mut modules = Modules::default();
        let usable = matching.iter().filter(|f| modules.describe(context, &f.module, &f.name) == Some(true));
        return Ok(usable.map(|f| found(&f.module, &f.name)).collect());
    }
    let owner = match module {
        Some(m) => m,
        None if context.btf()?.function_id(&function).is_some() => "vmlinux".into(),
        // Not built in: some loaded module may have it.
        None => match functions::matching(None, &function, context.options.traceable.as_deref())?.first() {
            Some(f) => f.module.clone(),
            None => return Ok(Vec::new()),
        },
    };
    // A module that is loaded may have no BTF: libbpf says what that means.
    let loaded = owner == "vmlinux" || std::path::Path::new("/sys/module").join(&owner).exists();
    if !loaded || Modules::default().describe(context, &owner, &function) == Some(false) {
        return Ok(Vec::new());
    }
    Ok(vec![found(&owner, &function)])
}

/// Types of modules that were asked for; none where a module has no BTF.
#[derive(Default)]
struct Modules(Vec<(String, Option<Btf>)>);

impl Modules {
    /// Has the module's BTF this function? None: it has no BTF.
    fn describe(&mut self, context: &Context<'_>, module: &str, function: &str) -> Option<bool> {
        if module == "vmlinux" {
            return Some(context.btf().is_ok_and(|b| b.function_id(function).is_some()));
        }
        if !self.0.iter().any(|m| m.0 == module) {
            let base = Btf::kernel(context.options.btf.as_deref()).ok();
            self.0.push((module.to_string(), base.and_then(|base| Btf::module(module, base).ok())));
        }
        let (_, btf) = self.0.iter().find(|m| m.0 == module)?;
        btf.as_ref().map(|b| b.function_id(function).is_some())
    }
}

/// Loaded BPF programs that match, by id and name.
fn bpf_programs(id: Option<u32>, wanted: &str) -> Vec<(u32, String)> {
    let programs = sys::bpf_programs().into_iter();
    programs.filter(|(own, name)| id.is_none_or(|id| id == *own) && pattern_matches(wanted, name)).collect()
}

/// Id and name of a target that is a BPF program.
pub fn bpf_target(target: &str) -> Option<(u32, &str)> {
    let (id, name) = target.strip_prefix("bpf:")?.split_once(':')?;
    Some((id.parse().ok()?, name))
}

/// Asks the BTF that describes a function (`module:function` or a plain name).
pub fn with_btf<T>(context: &Context<'_>, target: &str, ask: impl Fn(&Btf, &str) -> Result<T>) -> Result<T> {
    match target.split_once(':') {
        None => ask(context.btf()?, target),
        Some((module, function)) => {
            let base = Btf::kernel(context.options.btf.as_deref())?;
            ask(&Btf::module(module, base)?, function)
        }
    }
}

/// Attaches to the target that the program was loaded for.
pub fn attach(program: BorrowedFd<'_>) -> Result<Vec<OwnedFd>> {
    let fd = sys::raw_tracepoint_open(program, None).context("the kernel refuses the trampoline")?;
    Ok(vec![fd])
}
