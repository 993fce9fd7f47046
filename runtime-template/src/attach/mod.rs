//! Attach points: expanded on this machine into places, planned before
//! loading, attached after it.
//!
//! In: the manifest's programs. Out: a [`Plan`] (which program is loaded how
//! often, with which changes, for which places), then open descriptors that
//! keep the probes alive. One file per probe kind.

pub mod boundary;
pub mod fentry;
pub mod iter;
pub mod kprobe;
pub mod perf;
pub mod raw_tracepoint;
pub mod timer;
pub mod tracepoint;
pub mod uprobe;
pub mod usdt;
pub mod usdt_args;
pub mod watchpoint;

use crate::context::Context;
use crate::privileges;
use crate::target::tracefs::Field;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use btc_payload::manifest::{Operand, Program};
use btc_payload::probe::{AttachPoint, Text};
use btc_payload::start::Feature;
use std::os::fd::{BorrowedFd, OwnedFd};

/// How a place is attached; all that was unresolved is resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// Run by the tracer itself: begin, end, signals, tests.
    Once,
    /// A perf event.
    Perf(perf::Event),
    /// Tracepoint.
    Tracepoint {
        /// Directory below `events`.
        category: String,
        /// Directory below that.
        event: String,
    },
    /// Raw tracepoint.
    RawTracepoint {
        /// Its name.
        event: String,
    },
    /// Kernel function or address.
    Kprobe {
        /// At its return?
        ret: bool,
        /// Name, `module:name`, or an address as `0x...`.
        symbol: String,
        /// Bytes behind the symbol.
        offset: u64,
    },
    /// Kernel function through a trampoline; the target is part of loading.
    Fentry {
        /// Name, or `module:name`.
        function: String,
    },
    /// Place in a binary.
    Uprobe {
        /// At the function's return?
        ret: bool,
        /// The file.
        path: String,
        /// Offset in the file.
        offset: u64,
        /// Offset in the file of the counter that switches a static probe on; 0: none.
        semaphore: u64,
        /// Of a static probe: where its arguments lie, or the text that does not tell.
        arguments: Vec<Result<usdt_args::Numbers, String>>,
    },
    /// Iterator.
    Iter {
        /// What it goes over.
        kind: String,
        /// Where it is pinned, if it is.
        pin: Option<String>,
    },
}

/// A place that a program is attached to.
#[derive(Clone, Debug)]
pub struct Place {
    /// Attach-point id: index into [`Plan::names`] plus one.
    pub id: u64,
    /// How to attach.
    pub how: How,
}

/// What expansion of an attach point gives: full name, function part, how.
pub struct Found {
    /// As `probe` shows it.
    pub probe: String,
    /// As `func` shows it.
    pub function: String,
    /// How to attach.
    pub how: How,
}

/// One kernel mechanism for many places at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Multi {
    /// One by one.
    #[default]
    No,
    /// kprobe.multi.
    Kprobe,
    /// uprobe.multi.
    Uprobe,
}

/// A change of an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Index into the manifest's patches.
    pub patch: usize,
    /// The operand's value on this machine.
    pub value: u32,
    /// Bytes to load, when they differ from what was compiled.
    pub width: Option<u32>,
}

/// A program loaded once, for some of its places.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Index into the manifest's programs.
    pub program: usize,
    /// In which copy of the object.
    pub instance: usize,
    /// Attach-point id to store in the program's identity word; 0: the program reads the cookie.
    pub identity: u64,
    /// Instructions to change.
    pub changes: Vec<Change>,
    /// How several places are attached.
    pub multi: Multi,
    /// Where to attach.
    pub places: Vec<Place>,
}

/// Everything that will be loaded and attached.
#[derive(Default)]
pub struct Plan {
    /// Programs to load.
    pub units: Vec<Unit>,
    /// Full name and function part by attach-point id minus one.
    pub names: Vec<(String, String)>,
    /// What was not found, as messages.
    pub missing: Vec<String>,
}

impl Plan {
    /// Expands and groups all attach points.
    pub fn new(context: &Context<'_>) -> Result<Plan> {
        let mut plan = Plan::default();
        let (mut missing, mut matched) = (Vec::new(), std::collections::BTreeSet::new());
        for (index, program) in context.manifest.programs.iter().enumerate() {
            let place = context.place(program.location);
            // A program of the compiler's own stands behind the one it is part of.
            let named = if program.written.is_empty() { index.saturating_sub(1) } else { index };
            let written = &context.filled(&context.manifest.programs[named].written);
            let found = expand(context, program).with_context(|| format!("{place}: {written}"))?;
            if found.is_empty() {
                // The kind, then the place.
                let written = written.replacen(':', " ", 1);
                missing.push((program, format!("{place}: No matches for {written}.")));
            } else {
                matched.insert(program.block);
            }
            let wanted = |f: &Found| {
                let special = matches!(program.attach, AttachPoint::Begin | AttachPoint::End);
                special || context.options.probe_filter.as_ref().is_none_or(|filter| filter.is_match(&f.probe))
            };
            let found: Vec<Found> = found.into_iter().filter(wanted).collect();
            if found.is_empty() {
                continue;
            }
            plan.add(context, index, program, found).with_context(|| format!("{place}: {}", program.written))?;
        }
        // A pattern may match nothing where another attach point of its probe does.
        missing.retain(|(program, _)| !(is_pattern(&program.attach) && matched.contains(&program.block)));
        plan.missing = missing.into_iter().map(|(_, message)| message).collect();
        plan.check_limits(context)?;
        Ok(plan)
    }

    /// Number of places, begin and end included.
    pub fn probes(&self) -> usize {
        self.units.iter().map(|u| u.places.len()).sum()
    }

    /// First id and number of a program's attach points by their full name or function.
    pub fn ids(&self, program: u32, name: &str) -> Result<(u64, u64)> {
        let places = self.units.iter().filter(|u| u.program == program as usize).flat_map(|u| &u.places);
        let named = |p: &&Place| self.names.get(p.id as usize - 1).is_some_and(|n| n.0 == name || n.1 == name);
        let (mut first, mut count) = (0, 0);
        for place in places.into_iter().filter(named) {
            first = if count == 0 { place.id } else { first };
            // They are numbered as they are found, and found by name.
            ensure!(place.id == first + count, "attach points named {name} do not follow one another");
            count += 1;
        }
        Ok((first, count))
    }

    /// Number of copies of the object.
    pub fn instances(&self) -> usize {
        self.units.iter().map(|u| u.instance + 1).max().unwrap_or(0)
    }

    fn add(&mut self, context: &Context<'_>, index: usize, program: &Program, found: Vec<Found>) -> Result<()> {
        let mut units: Vec<Unit> = Vec::new();
        for f in found {
            self.names.push((f.probe, f.function));
            let place = Place { id: self.names.len() as u64, how: f.how };
            let changes = changes(context, index, program, &place.how)?;
            let own = needs_own_copy(context, program, &place.how);
            let same = units.iter_mut().find(|u| !own && u.changes == changes);
            if let Some(unit) = same {
                unit.places.push(place);
                continue;
            }
            let identity = if own && program.identity_slot.is_some() { place.id } else { 0 };
            // The n-th copies of all programs share an instance.
            let instance = units.len();
            units.push(Unit { program: index, instance, identity, changes, multi: Multi::No, places: vec![place] });
        }
        for unit in &mut units {
            unit.multi = multi(context, unit);
        }
        self.units.append(&mut units);
        Ok(())
    }

    fn check_limits(&self, context: &Context<'_>) -> Result<()> {
        let (probes, limit) = (self.probes() as u64, context.settings.number("max_probes"));
        if probes > limit {
            bail!(
                "Can't attach to {probes} probes because it exceeds the current limit of {limit} probes.\n\
                 You can increase the limit through the BPFTRACE_MAX_PROBES environment variable, but BE CAREFUL \
                 since a high number of probes attached can cause your system to crash."
            );
        }
        // Counted as scripts are used to: what `probe` tells apart is a program
        // each, even where one with a cookie serves them all.
        let counted = |u: &Unit| match context.manifest.programs[u.program].identity_slot {
            Some(_) => u.places.len() as u64,
            None => 1,
        };
        let programs: u64 = self.units.iter().map(counted).sum();
        let limit = context.settings.number("max_bpf_progs");
        if programs > limit {
            bail!(
                "{programs} programs would be loaded, but at most {limit} may be; \
                 raise the limit with BPFTRACE_MAX_BPF_PROGS"
            );
        }
        Ok(())
    }
}

/// Must this place have a copy of the program of its own?
fn needs_own_copy(context: &Context<'_>, program: &Program, how: &How) -> bool {
    match how {
        // The attach target is fixed when loading.
        How::Fentry { .. } | How::Iter { .. } => true,
        // No cookies here (raw tracepoints have them from 6.10 only).
        How::Once | How::RawTracepoint { .. } => program.identity_slot.is_some(),
        _ => program.identity_slot.is_some() && !context.features.has(Feature::AttachCookie),
    }
}

/// The mechanism for many places, where the kernel has one.
fn multi(context: &Context<'_>, unit: &Unit) -> Multi {
    let all = |f: fn(&How) -> bool| unit.places.iter().all(|p| f(&p.how));
    // From 6.17 on perf opens uprobes for CAP_SYS_ADMIN only (kernel/events/core.c), links have no such rule.
    if unit.places.len() < 2 && (privileges::is_admin() || !all(|h| matches!(h, How::Uprobe { .. }))) {
        return Multi::No;
    }
    if all(|h| matches!(h, How::Kprobe { offset: 0, symbol, .. } if !symbol.starts_with("0x")))
        && context.features.has(Feature::KprobeMulti)
    {
        return Multi::Kprobe;
    }
    if all(|h| matches!(h, How::Uprobe { .. })) && context.features.has(Feature::UprobeMulti) {
        return Multi::Uprobe;
    }
    Multi::No
}

/// Expands one attach point on this machine.
fn expand(context: &Context<'_>, program: &Program) -> Result<Vec<Found>> {
    let once = |name: &str| Found { probe: name.to_string(), function: name.to_string(), how: How::Once };
    let written = context.filled(&program.written);
    match &program.attach {
        AttachPoint::Begin
        | AttachPoint::End
        | AttachPoint::SelfSignal { .. }
        | AttachPoint::Test { .. }
        | AttachPoint::Bench { .. } => Ok(vec![once(&written)]),
        AttachPoint::Interval(period) => timer::expand(context, &written, period, false),
        AttachPoint::Profile(period) => timer::expand(context, &written, period, true),
        AttachPoint::Software { event, count } => perf::software(context, &written, event, *count),
        AttachPoint::Hardware { event, count } => perf::hardware(context, &written, event, *count),
        AttachPoint::Tracepoint { category, event } => tracepoint::expand(context, category, event),
        AttachPoint::RawTracepoint { module, event } => {
            raw_tracepoint::expand(context, module.as_ref(), event, program.identity_slot.is_some())
        }
        AttachPoint::Kprobe { ret, module, function, offset } => {
            kprobe::expand(context, *ret, module.as_ref(), function, *offset)
        }
        AttachPoint::KprobeAddress { address } => Ok(vec![kprobe::at_address(&written, *address)]),
        AttachPoint::Fentry { ret, module, function } => fentry::expand(context, *ret, module.as_ref(), function),
        AttachPoint::Uprobe { ret, path, at } => uprobe::expand(context, *ret, path, at, program.binary.as_ref()),
        AttachPoint::Usdt { path, provider, name } => usdt::expand(context, path, provider.as_ref(), name),
        AttachPoint::Watchpoint { at, length, mode, .. } => watchpoint::expand(context, &written, at, *length, mode),
        AttachPoint::Iter { kind, pin } => iter::expand(context, &written, kind, pin.as_ref()),
    }
}

/// Does an attach point stand for what matches a pattern?
pub fn is_pattern(attach: &AttachPoint) -> bool {
    use btc_payload::probe::UserLocation;
    let module = |m: &Option<Text>| m.as_ref().is_some_and(Text::has_wildcard);
    match attach {
        AttachPoint::Tracepoint { category, event } => category.has_wildcard() || event.has_wildcard(),
        AttachPoint::RawTracepoint { module: m, event } => module(m) || event.has_wildcard(),
        AttachPoint::Kprobe { module: m, function, .. } | AttachPoint::Fentry { module: m, function, .. } => {
            module(m) || function.has_wildcard()
        }
        AttachPoint::Uprobe { path, at, .. } => {
            path.has_wildcard() || matches!(at, UserLocation::Symbol { name, .. } if name.has_wildcard())
        }
        AttachPoint::Usdt { path, provider, name } => path.has_wildcard() || name.has_wildcard() || module(provider),
        _ => false,
    }
}

/// Can a program read a field of its record wherever the data lie?
fn chooses_place(context: &Context<'_>, program: usize, name: &str) -> bool {
    let mut mine = context.manifest.patches.iter().filter(|p| p.program as usize == program);
    mine.any(|p| matches!(&p.operand, Operand::TracepointPlace { field } if field == name))
}

/// A field of a tracepoint's record on this kernel.
fn tracepoint_field<'a>(known: &'a [Field], name: &str, (category, event): (&str, &str)) -> Result<&'a Field> {
    known.iter().find(|f| f.name == name).with_context(|| {
        let names = known.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join(", ");
        format!("tracepoint {category}:{event} has no field {name} on this kernel; it has {names}")
    })
}

/// Looks up the operands that a program's patches name.
fn changes(context: &Context<'_>, index: usize, program: &Program, how: &How) -> Result<Vec<Change>> {
    let mine = context.manifest.patches.iter().enumerate().filter(|(_, p)| p.program as usize == index);
    let mut fields = None;
    let mut out = Vec::new();
    for (patch, p) in mine {
        let (value, width) = match (&p.operand, how) {
            (Operand::Register { .. }, _) => continue,
            (
                Operand::TracepointField { field, .. } | Operand::TracepointPlace { field },
                How::Tracepoint { category, event },
            ) => {
                if fields.is_none() {
                    fields = Some(crate::target::tracefs::fields(category, event)?);
                }
                let f = tracepoint_field(fields.as_deref().unwrap_or_default(), field, (category, event))?;
                match &p.operand {
                    Operand::TracepointField { .. } if f.place != 0 && !chooses_place(context, index, field) => bail!(
                        "field {field} of tracepoint {category}:{event} has no fixed size on this kernel, \
                         unlike where this tracer comes from"
                    ),
                    Operand::TracepointField { size, .. } => {
                        let size = u32::from(*size);
                        let resized = size != 0 && size != f.size && f.size.is_power_of_two() && f.size <= 8;
                        (f.offset, (resized && f.place == 0).then_some(f.size))
                    }
                    _ => (f.place, None),
                }
            }
            (Operand::Argument { name }, How::RawTracepoint { event }) => {
                let found = raw_tracepoint::argument(context, event, name)?;
                (argument(found, name, event)?.index * 8, None)
            }
            (Operand::Argument { name }, How::Fentry { function }) => {
                let found = fentry::with_btf(context, function, |btf, f| btf.argument(f, name))?;
                (argument(found, name, function)?.index * 8, None)
            }
            (Operand::ReturnValue, How::Fentry { function }) => {
                (fentry::with_btf(context, function, |btf, f| btf.arguments(f))? * 8, None)
            }
            (Operand::UsdtArgument { argument, part }, How::Uprobe { arguments, .. }) => {
                match arguments.get(usize::from(*argument)) {
                    Some(Ok(numbers)) => (numbers[*part as usize], None),
                    Some(Err(text)) => bail!("arg{argument} lies where it cannot be read: {text}"),
                    // Zeros are the operand `$0`. What matches a pattern may well have fewer.
                    None => {
                        if *part as usize == 0 && !is_pattern(&program.attach) && !context.options.no_warnings {
                            let (place, count) = (context.place(program.location), arguments.len());
                            eprintln!("WARNING: {place}: the probe has {count} arguments: arg{argument} is 0");
                        }
                        (0, None)
                    }
                }
            }
            _ => bail!("the payload is inconsistent: an operand does not fit probe {}", program.written),
        };
        out.push(Change { patch, value, width });
    }
    Ok(out)
}

fn argument(
    found: Option<crate::target::btf::Argument>,
    name: &str,
    function: &str,
) -> Result<crate::target::btf::Argument> {
    found.ok_or_else(|| anyhow!("{function} has no argument {name} on this kernel"))
}

/// Units in the order in which they must be attached so that several programs
/// of one place run in the order of the script: kprobes, uprobes and fentry call the
/// last one first (kernel/kprobes.c, kernel/events/uprobes.c, kernel/bpf/trampoline.c),
/// all others the first one first. So do kretprobes: their entries run last one first
/// and each puts its return in front (kernel/trace/rethook.c).
pub fn in_order(units: &[Unit]) -> impl Iterator<Item = &Unit> {
    let backwards = |u: &&Unit| {
        let how = u.places.first().map(|p| &p.how);
        matches!(how, Some(How::Kprobe { ret: false, .. } | How::Uprobe { .. } | How::Fentry { .. }))
    };
    units.iter().filter(move |u| !backwards(u)).chain(units.iter().rev().filter(backwards))
}

/// Attaches all places of a unit. `Err` names the place that failed; what is
/// attached already stays in `open`.
pub fn attach(
    context: &Context<'_>,
    plan: &Plan,
    unit: &Unit,
    program: BorrowedFd<'_>,
    open: &mut Vec<OwnedFd>,
) -> Vec<anyhow::Error> {
    let name = |id: u64| plan.names.get(id as usize - 1).map_or("?", |n| n.0.as_str());
    let cookies = context.manifest.programs[unit.program].identity_slot.is_some() && unit.identity == 0;
    if unit.multi != Multi::No {
        let one_link = |places: &[Place]| match unit.multi {
            Multi::Kprobe => kprobe::attach_multi(places, program, cookies),
            _ => uprobe::attach_multi(context, places, program, cookies),
        };
        let mut failed = Vec::new();
        attach_most(&unit.places, &one_link, open, &mut failed);
        let describe = |(places, e): (&[Place], anyhow::Error)| match places {
            [one] => explain(&one.how, e).context(format!("cannot attach {}", name(one.id))),
            _ => explain(&places[0].how, e).context(format!(
                "cannot attach {} and {} more",
                name(places[0].id),
                places.len() - 1
            )),
        };
        return failed.into_iter().map(describe).collect();
    }
    let mut failed = Vec::new();
    for place in &unit.places {
        let cookie = if cookies { place.id } else { 0 };
        match attach_one(context, &place.how, program, cookie, context.manifest.programs[unit.program].filters_pid) {
            Ok(links) => open.extend(links),
            Err(e) => failed.push(explain(&place.how, e).context(format!("cannot attach {}", name(place.id)))),
        }
    }
    failed
}

/// `ENOTSUPP` of include/linux/errno.h, which is no error of user space.
const ENOTSUPP: i32 = 524;

/// What errors mean, by the letter of what is attached (`*`: anything).
const REASONS: &[(char, i32, &str)] = &[
    ('*', libc::EPERM, "no privileges; run as root, or with CAP_BPF and CAP_PERFMON"),
    ('*', libc::EACCES, "no privileges; run as root, or with CAP_BPF and CAP_PERFMON"),
    ('*', libc::EMFILE, "too many open files; raise the limit (ulimit -n)"),
    ('f', ENOTSUPP, "the kernel has no trampolines for this function; use a kprobe"),
    (
        'f',
        libc::EBUSY,
        "the kernel cannot patch it (notrace, a live patch, or another function of its name); use a kprobe",
    ),
    ('f', libc::E2BIG, "too many programs are attached to this function"),
    ('u', ENOTSUPP, "the instruction there cannot be probed; give another offset"),
    ('u', libc::ENOEXEC, "no instruction begins there; give another offset"),
    ('u', libc::EINVAL, "the kernel can probe code in files of ordinary file systems only"),
    ('u', libc::EIO, "the kernel can probe code in files of ordinary file systems only"),
    ('*', ENOTSUPP, "the kernel does not support it"),
];

/// Says why, and what can be done, where the error's number tells.
fn explain(how: &How, error: anyhow::Error) -> anyhow::Error {
    let letter = match how {
        How::Fentry { .. } => 'f',
        How::Uprobe { .. } => 'u',
        _ => ' ',
    };
    let number = error.chain().find_map(|e| e.downcast_ref::<std::io::Error>()?.raw_os_error());
    let reason = REASONS.iter().find(|r| (r.0 == '*' || r.0 == letter) && Some(r.1) == number);
    match reason {
        Some((_, ENOTSUPP, why)) => anyhow!("{why} (ENOTSUPP)"),
        Some((_, _, why)) => error.context(*why),
        None => error,
    }
}

/// Attaches all places that can be. The kernel refuses a link as a whole for one
/// function that it cannot probe, so the culprits are looked for by halves; where
/// there are many, something else is wrong.
fn attach_most<'p>(
    places: &'p [Place],
    one_link: &dyn Fn(&[Place]) -> Result<Vec<OwnedFd>>,
    open: &mut Vec<OwnedFd>,
    failed: &mut Vec<(&'p [Place], anyhow::Error)>,
) {
    const MOST_CULPRITS: usize = 64;
    match one_link(places) {
        Ok(links) => open.extend(links),
        Err(e) if places.len() < 2 || failed.len() >= MOST_CULPRITS => failed.push((places, e)),
        Err(_) => {
            let (left, right) = places.split_at(places.len() / 2);
            attach_most(left, one_link, open, failed);
            attach_most(right, one_link, open, failed);
        }
    }
}

/// Would the kernel take this place? Only what cannot be looked up is tried;
/// the probe is made, but never switched on.
pub fn refused(how: &How) -> Option<anyhow::Error> {
    match how {
        How::Kprobe { ret, symbol, offset } => kprobe::open(*ret, symbol, *offset).err(),
        _ => None,
    }
}

fn attach_one(
    context: &Context<'_>,
    how: &How,
    program: BorrowedFd<'_>,
    cookie: u64,
    filters_pid: bool,
) -> Result<Vec<OwnedFd>> {
    match how {
        How::Once => Ok(Vec::new()),
        How::Perf(perf::Event { breakpoint: Some((_, watchpoint::LATER, _)), .. }) => Ok(Vec::new()),
        How::Perf(event) => {
            let pid =
                if event.always_pid { context.traced_pid() } else { context.options.pid.filter(|_| !filters_pid) };
            perf::attach(event, pid, program, cookie)
        }
        How::Tracepoint { category, event } => tracepoint::attach(category, event, program, cookie),
        How::RawTracepoint { event } => raw_tracepoint::attach(event, program),
        How::Kprobe { ret, symbol, offset } => kprobe::attach(*ret, symbol, *offset, program, cookie),
        How::Fentry { .. } => fentry::attach(program),
        How::Uprobe { ret, path, offset, semaphore, .. } => {
            uprobe::attach(*ret, path, (*offset, *semaphore), context.traced_pid(), program, cookie)
        }
        How::Iter { pin, .. } => iter::attach(program, pin.as_deref()),
    }
}
