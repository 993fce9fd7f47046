//! Loads programs and maps.
//!
//! In: the filled-in image and the plan. Out: loaded objects, one per instance
//! of the plan, that share their maps. A rejection by the verifier is reported
//! with the line of the script.

use crate::attach::fentry::bpf_target;
use crate::attach::{How, Multi, Plan, Unit};
use crate::context::Context;
use crate::image::Image;
use crate::sys;
use crate::target::features::no_prealloc;
use anyhow::{Context as _, Result, anyhow, bail};
use btc_payload::manifest::{Map, MapId, MapKind, MapRole, SCRATCH_SLOTS};
use btc_payload::probe::AttachPoint;
use btc_payload::start::Feature;
use libbpf_rs::{
    AsRawLibbpf, MapCore, Object, ObjectBuilder, OpenObject, OpenProgramMut, PrintLevel, libbpf_sys as bpf, set_print,
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd};
use std::sync::Mutex;

/// What libbpf said; it reports through a global callback only.
static LOG: Mutex<String> = Mutex::new(String::new());

fn keep_log(_: PrintLevel, message: String) {
    if let Ok(mut log) = LOG.lock() {
        log.push_str(&message);
    }
}

/// What libbpf calls the object, and prefixes maps of sections like `.rodata` with.
const OBJECT: &str = "btc";

/// Loaded objects, by instance of the plan; `None` where an instance has no unit.
pub struct Loaded {
    objects: Vec<Option<Object>>,
    /// Instance that created the maps.
    first: usize,
}

/// Loads all instances of the plan.
pub fn load(context: &Context<'_>, image: Image, plan: &Plan) -> Result<Loaded> {
    set_print(Some((PrintLevel::Warn, keep_log)));
    raise_memlock_limit();
    raise_descriptor_limit();
    let mut base = image;
    context.fill_constants(&mut base, plan)?;
    if !context.features.has(Feature::FetchAtomics) {
        base.remove_fetch_atomics();
    }
    let mut loaded = Loaded { objects: Vec::new(), first: 0 };
    for instance in 0..plan.instances().max(1) {
        let units: Vec<&Unit> = plan.units.iter().filter(|u| u.instance == instance).collect();
        if units.is_empty() {
            loaded.objects.push(None);
            continue;
        }
        let image = instance_image(context, &base, &units)?;
        let object = load_instance(context, &image, &units, &loaded)?;
        if loaded.objects.iter().all(Option::is_none) {
            loaded.first = instance;
        }
        loaded.objects.push(Some(object));
    }
    Ok(loaded)
}

/// The image with what differs between instances.
fn instance_image(context: &Context<'_>, base: &Image, units: &[&Unit]) -> Result<Image> {
    let mut image = base.clone();
    for unit in units {
        let program = &context.manifest.programs[unit.program];
        for change in &unit.changes {
            let patch = &context.manifest.patches[change.patch];
            image
                .patch(&patch.function, patch.instruction, (patch.expected, change.value), change.width)
                .with_context(|| program.written.clone())?;
        }
        if let (Some(slot), true) = (program.identity_slot, unit.identity != 0) {
            image.set_int(slot, 8, unit.identity)?;
        }
    }
    Ok(image)
}

fn load_instance(context: &Context<'_>, image: &Image, units: &[&Unit], loaded: &Loaded) -> Result<Object> {
    let mut builder = ObjectBuilder::default();
    builder.name(OBJECT).map_err(|e| anyhow!("{e}"))?;
    if let Some(file) = &context.options.btf {
        builder.btf_custom_path(file).map_err(|e| anyhow!("--btf: {e}"))?;
    }
    let mut open = builder.open_memory(image.bytes()).map_err(|e| failure(context, "the object cannot be read", &e))?;
    configure_maps(context, &mut open, loaded)?;
    configure_programs(context, &mut open, units)?;
    clear_log();
    open.load().map_err(|e| failure(context, "the kernel refuses the programs", &e))
}

/// Sets sizes and flags; later instances use the maps of the first.
fn configure_maps(context: &Context<'_>, open: &mut OpenObject, loaded: &Loaded) -> Result<()> {
    let first = loaded.objects.get(loaded.first).and_then(Option::as_ref);
    for mut map in open.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        let known = context.manifest.maps.iter().find(|m| m.symbol == name && m.role != MapRole::ReadOnlyData);
        // Maps of C files are not in the manifest. Constants differ between instances.
        let shared = known.is_some() || !name.starts_with("btc.");
        if let Some(existing) = first.and_then(|o| o.maps().find(|e| shared && e.name() == name.as_str())) {
            map.reuse_fd(existing.as_fd()).with_context(|| format!("cannot share map {name}"))?;
            continue;
        }
        let Some(m) = known else { continue };
        if m.role.is_section() {
            continue;
        }
        map.set_max_entries(entries(context, m)?).with_context(|| format!("cannot size map {name}"))?;
        if m.buckets.is_some() {
            map.set_value_size(m.value_size()).with_context(|| format!("cannot size map {name}"))?;
        }
        let hash = matches!(m.kind, MapKind::Hash | MapKind::PerCpuHash);
        if hash && no_prealloc() {
            map.set_map_flags(map.map_flags() | bpf::BPF_F_NO_PREALLOC).with_context(|| format!("map {name}"))?;
        }
    }
    Ok(())
}

/// How many entries a map gets.
fn entries(context: &Context<'_>, map: &Map) -> Result<u32> {
    let page = 4096u64;
    Ok(match (map.role, map.kind) {
        (MapRole::Events, _) => {
            // The kernel wants a power of two of pages.
            // None means as many as there are without the setting, as in bpftrace.
            let pages = match context.settings.number("perf_rb_pages") {
                0 => 1024,
                n => n.min(1 << 18),
            };
            let bytes = pages * page;
            u32::try_from(bytes.next_power_of_two()).context("the ring is too large")?
        }
        (MapRole::Scratch, MapKind::Array) if map.max_entries.is_none() => SCRATCH_SLOTS * sys::possible_cpus(),
        (MapRole::Scratch, _) if map.max_entries.is_none() => SCRATCH_SLOTS,
        (MapRole::Keys(of), _) => match context.manifest.maps.get(of.0 as usize) {
            Some(map) => entries(context, map)?,
            None => 1,
        },
        (MapRole::Script, _) => {
            let asked = context.options.map_sizes.iter().rev().find(|(n, _)| *n == map.name).map(|m| m.1);
            let default = || u32::try_from(context.settings.number("max_map_keys")).unwrap_or(u32::MAX);
            asked.or(map.max_entries).unwrap_or_else(default).max(1)
        }
        _ => map.max_entries.unwrap_or(1),
    })
}

/// Chooses what is loaded and how it will be attached.
fn configure_programs(context: &Context<'_>, open: &mut OpenObject, units: &[&Unit]) -> Result<()> {
    for mut program in open.progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        let unit = units.iter().find(|u| context.manifest.programs[u.program].function == name);
        program.set_autoload(unit.is_some());
        let Some(unit) = unit else { continue };
        match unit.multi {
            Multi::Kprobe => set_attach_type(&mut program, bpf::BPF_TRACE_KPROBE_MULTI),
            Multi::Uprobe => set_attach_type(&mut program, bpf::BPF_TRACE_UPROBE_MULTI),
            Multi::No => {}
        }
        let target = match unit.places.first().map(|p| &p.how) {
            Some(How::Fentry { function }) => function.clone(),
            Some(How::Iter { kind, .. }) => kind.clone(),
            _ => continue,
        };
        clear_log();
        let (fd, name) = match bpf_target(&target) {
            // The descriptor is used again when the program is loaded; the tracer keeps it.
            Some((id, name)) => {
                let fd = sys::bpf_program(id).with_context(|| format!("{target} cannot be traced"))?;
                (fd.into_raw_fd(), name)
            }
            None => (0, target.as_str()),
        };
        program
            .set_attach_target(fd, Some(name.to_string()))
            .map_err(|e| failure(context, &format!("{target} cannot be traced"), &e))?;
    }
    Ok(())
}

/// libbpf-rs knows no uprobe.multi, libbpf does.
fn set_attach_type(program: &mut OpenProgramMut<'_>, kind: bpf::bpf_attach_type) {
    // SAFETY: the program belongs to an object that is open and not loaded yet.
    unsafe { bpf::bpf_program__set_expected_attach_type(program.as_libbpf_object().as_ptr(), kind) };
}

fn raise_memlock_limit() {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: passes a valid structure. Failure is fine: kernels from 5.11 on
    // account to the memory cgroup, and older ones will say EPERM themselves.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) };
}

/// Old kernels want a descriptor for each probe, and a copy of the object with
/// descriptors of its own for each probe that asks which one it is.
fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for reading and writing. Failure leaves things as they are.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        let most = libc::rlimit { rlim_cur: 1 << 20, rlim_max: limit.rlim_max.max(1 << 20) };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &most) != 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

fn clear_log() {
    if let Ok(mut log) = LOG.lock() {
        log.clear();
    }
}

/// An error of libbpf with what the user can do about it.
fn failure(context: &Context<'_>, what: &str, error: &libbpf_rs::Error) -> anyhow::Error {
    let log = LOG.lock().map(|mut l| std::mem::take(&mut *l)).unwrap_or_default();
    if context.options.verbose {
        eprint!("{log}");
    }
    if let Some(verdict) = crate::verifier::verdict(&log) {
        let place = verdict.line.map(|l| format!("{l}: ")).unwrap_or_default();
        if let Some(missing) = crate::verifier::unresolved(&verdict.message) {
            return anyhow!(
                "{place}this kernel has no `{missing}`, as far as its BTF and that of the modules that are loaded tell"
            );
        }
        let more = if context.options.verbose { "" } else { "\nThe whole log of the verifier is shown with -v." };
        return anyhow!("{place}the kernel's verifier rejects the program: {}{more}", verdict.message);
    }
    let trampolines = context.manifest.programs.iter().any(|p| matches!(p.attach, AttachPoint::Fentry { .. }));
    if trampolines && !context.features.has(Feature::Fentry) {
        return anyhow!(
            "{what}: it has no fentry and fexit probes, which take function tracing \
             (CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS); use kprobes"
        );
    }
    let kind = error.kind();
    if kind == libbpf_rs::ErrorKind::PermissionDenied {
        return anyhow!(
            "{what}: no privileges. Run as root, or give the file CAP_BPF and CAP_PERFMON: setcap cap_bpf,cap_perfmon+ep FILE"
        );
    }
    if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() && context.options.btf.is_none() {
        return anyhow!(
            "{what}: this kernel has no BTF (/sys/kernel/btf/vmlinux is missing). \
             Give one with --btf FILE, or use a kernel built with CONFIG_DEBUG_INFO_BTF"
        );
    }
    let said = log.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("").trim().to_string();
    let said = if said.is_empty() { String::new() } else { format!(" ({said})") };
    anyhow!("{what}: {error}{said}")
}

impl Loaded {
    /// Runs of programs that the kernel left out, see [`sys::recursion_misses`].
    pub fn recursion_misses(&self) -> u64 {
        let programs = self.objects.iter().flatten().flat_map(Object::progs);
        programs.map(|p| sys::recursion_misses(p.as_fd().as_raw_fd())).sum()
    }

    /// The program of a unit.
    pub fn program(&self, context: &Context<'_>, unit: &Unit) -> Result<BorrowedFd<'_>> {
        let object = self.objects.get(unit.instance).and_then(Option::as_ref).context("an instance was not loaded")?;
        let function = &context.manifest.programs[unit.program].function;
        let found = object.progs().find(|p| p.name() == function.as_str());
        let Some(program) = found else { bail!("the object has no program {function}") };
        // SAFETY: the descriptor belongs to the object, which lives as long as `self`.
        Ok(unsafe { BorrowedFd::borrow_raw(program.as_fd().as_raw_fd()) })
    }

    /// A map of the manifest; `None` when the object has no such map.
    pub fn map(&self, context: &Context<'_>, id: MapId) -> Option<BorrowedFd<'_>> {
        let symbol = &context.manifest.maps.get(id.0 as usize)?.symbol;
        let object = self.objects.get(self.first)?.as_ref()?;
        let map = object.maps().find(|m| m.name() == symbol.as_str())?;
        // SAFETY: as above.
        Some(unsafe { BorrowedFd::borrow_raw(map.as_fd().as_raw_fd()) })
    }
}
