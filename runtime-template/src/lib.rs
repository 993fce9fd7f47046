//! The runtime of a compiled script: payload → options → features → load →
//! attach → poll → render → exit.
//!
//! In: a payload, linked into the executable or embedded by a generated crate.
//! Out: what the script prints, and its exit status. The modules follow the
//! order of a run.

pub mod action;
pub mod attach;
pub mod check;
pub mod child;
pub mod context;
pub mod event;
#[cfg(any(panic = "abort", test))]
mod gzip;
pub mod image;
#[cfg(panic = "abort")]
mod left_out;
pub mod load;
pub mod maps;
pub mod options;
pub mod output;
pub mod payload;
pub mod poll;
pub mod privileges;
pub mod render;
pub mod ring;
pub mod settings;
pub mod start;
pub mod symbols;
pub mod sys;
pub mod target;
pub mod tests;
pub mod usage;
pub mod verifier;

use crate::action::Actions;
use crate::attach::watchpoint::{self, Waiting};
use crate::attach::{How, Place, Plan, perf};
use crate::child::Child;
use crate::context::Context;
use crate::image::Image;
use crate::load::Loaded;
use crate::options::{Mode, Options};
use crate::output::Output;
use crate::poll::{Signals, Tracer};
use crate::render::Renderer;
use crate::ring::Ring;
use crate::settings::Settings;
use crate::symbols::{kernel::KernelSymbols, user::UserSymbols};
use anyhow::{Context as _, Result, anyhow, bail};
use btc_payload::header::{self, Payload};
use btc_payload::manifest::{MapId, MapRole};
use btc_payload::probe::AttachPoint;
use btc_payload::start::StartValue;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::time::Instant;

/// Runs a payload to its end; `None` is an executable that carries none.
pub fn main(payload: Option<&[u8]>) -> ExitCode {
    std::panic::set_hook(Box::new(|info| eprintln!("ERROR: internal error: {info}")));
    match try_main(payload) {
        Ok(status) => ExitCode::from(status as u8),
        Err(e) => {
            eprintln!("ERROR: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn try_main(payload: Option<&[u8]>) -> Result<i32> {
    let Some(bytes) = payload else {
        bail!("this is the plain runtime of btc, without a script; `btc build SCRIPT` makes a tracer of it")
    };
    let mut payload = header::read(bytes).context("this tracer cannot be used")?;
    let manifest = &payload.manifest;
    let mut arguments = std::env::args_os().map(|a| a.to_string_lossy().into_owned());
    let program = arguments.next().unwrap_or_default();
    sys::set_name(program.rsplit('/').next().unwrap_or(&program));
    let options = options::parse(manifest, arguments)?;
    let text = match options.mode {
        Mode::Help => usage::help(manifest, program.rsplit('/').next().unwrap_or(&program)),
        Mode::Version => usage::version(manifest),
        Mode::About => usage::about(manifest),
        Mode::List => usage::list(manifest),
        Mode::Source => String::from_utf8_lossy(payload.source).into_owned(),
        Mode::Run | Mode::Check => {
            start::decide_histograms(&mut payload.manifest, &options)?;
            return trace(&payload, options);
        }
    };
    output::whole(&text)?;
    Ok(0)
}

fn trace(payload: &Payload<'_>, options: Options) -> Result<i32> {
    let manifest = &payload.manifest;
    let environment = std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
    let settings = Settings::new(&manifest.settings, environment)?;
    let mut context = Context::new(manifest, options, settings);
    context.source = String::from_utf8_lossy(payload.source);
    if context.options.mode == Mode::Check {
        let (table, good) = check::run(&context);
        output::whole(&table)?;
        return Ok(if good { 0 } else { 1 });
    }
    let missing = privileges::missing(&context);
    if !missing.is_empty() {
        bail!(
            "no privileges: {} missing. Run as root, or give the file what it needs: \
             setcap cap_bpf,cap_perfmon+ep FILE (see --list)",
            missing.join(", ")
        );
    }
    if let Some(first) = start::missing_features(manifest, &context.features).first() {
        bail!("{first}");
    }
    let signals = Signals::block()?;
    let output = Output::new(context.options.output.as_deref(), context.options.buffering)?;
    let process = context.options.pid.map(traced_process).transpose()?;
    let child = context.options.command.as_deref().map(Child::start).transpose()?;
    context.child = child.as_ref().map(|c| c.pid);
    run(&context, payload, signals, output, child, process)
}

/// Does the script ask for the `-c` child?
fn reads_child(context: &Context<'_>) -> bool {
    context.manifest.slots.iter().any(|s| s.value == StartValue::ChildPid)
}

/// A descriptor of the `-p` process, which tells when it ends.
fn traced_process(pid: u32) -> Result<OwnedFd> {
    sys::pidfd_open(pid).map_err(|e| match e.raw_os_error() {
        Some(libc::ESRCH) => anyhow!("there is no process {pid}"),
        _ => anyhow!("cannot watch process {pid}: {e}"),
    })
}

fn run(
    context: &Context<'_>,
    payload: &Payload<'_>,
    signals: Signals,
    output: Output,
    child: Option<Child>,
    process: Option<OwnedFd>,
) -> Result<i32> {
    let plan = Plan::new(context)?;
    report_missing(context, &plan.missing)?;
    // A tracer for tests of a script that has none.
    if context.manifest.programs.is_empty() {
        return Ok(0);
    }
    if plan.units.is_empty() {
        bail!("No probes to attach: none of the script's probes exists here");
    }
    if context.child.is_none() && !context.options.no_warnings && reads_child(context) {
        eprintln!("WARNING: No child command (-c); cpid is zero");
    }
    let started = Instant::now();
    let loaded = load::load(context, Image::new(&payload.object)?, &plan)?;
    let ring_fd = manifest_map(context, MapRole::Events).and_then(|id| loaded.map(context, id));
    let ring = ring_fd.map(open_ring).transpose()?;
    let renderer = renderer(context, &plan);
    let actions = Actions::new(context, &loaded, output, renderer);
    let mut tracer = Tracer::new(actions, &plan, ring, signals, child, process);

    if let Some(status) = tests::run(&mut tracer, &loaded)? {
        return Ok(status.max(tracer.actions.output.failed().into()));
    }
    let prepared = started.elapsed();
    run_begin(context, &plan, &loaded)?;
    let (mut open, attaching) = (Vec::new(), Instant::now());
    let attached = attach_all(context, &plan, &loaded, &mut open, &mut tracer)?;
    if context.options.verbose {
        eprintln!("Loaded in {} us, attached in {} us", prepared.as_micros(), attaching.elapsed().as_micros());
    }
    if attached == 0 {
        bail!("No probes to attach: nothing of the script can be attached here");
    }
    announce(&mut tracer, attached);
    open_iterators(context, &plan, &open, &mut tracer)?;
    if let Some(child) = &mut tracer.child {
        if context.manifest.maps.iter().any(action::keeps_user_addresses) {
            child.watch_exit();
        }
        child.release()?;
    }
    privileges::give_up(context);
    if context.options.dry_run {
        tracer.actions.output.flush();
        poll::leave_detaching();
        return Ok(tracer.actions.output.failed().into());
    }
    let status = tracer.run(ring_fd.map_or(-1, |f| f.as_raw_fd()), lives_on(context, &plan));
    if !context.options.wait_detach && !open.is_empty() {
        poll::leave_detaching();
    }
    Ok(status)
}

/// What was not found: an error, a warning or nothing, as the script says.
fn report_missing(context: &Context<'_>, missing: &[String]) -> Result<()> {
    match context.settings.text("missing_probes") {
        "error" => match missing.first() {
            Some(first) => bail!(
                "{}. If this is expected, set the 'missing_probes' config variable to 'warn'",
                first.trim_end_matches('.')
            ),
            None => Ok(()),
        },
        "warn" if !context.options.no_warnings => {
            missing.iter().for_each(|m| eprintln!("WARNING: {m}"));
            Ok(())
        }
        _ => Ok(()),
    }
}

fn manifest_map(context: &Context<'_>, role: MapRole) -> Option<MapId> {
    context.manifest.maps.iter().position(|m| m.role == role).map(|i| MapId(i as u32))
}

fn open_ring(fd: BorrowedFd<'_>) -> Result<Ring<'_>> {
    let info = libbpf_rs::MapInfo::new(fd).map_err(|e| anyhow!("cannot read about the ring buffer: {e}"))?;
    Ring::new(fd, info.info.max_entries as usize)
}

fn renderer<'a>(context: &Context<'a>, plan: &Plan) -> Renderer<'a> {
    let wall = sys::clock_ns(libc::CLOCK_REALTIME).wrapping_sub(sys::clock_ns(libc::CLOCK_BOOTTIME));
    // Values of the kernel's enumerations are those of this kernel.
    let enums = context
        .manifest
        .enums
        .iter()
        .map(|e| e.kernel.as_ref().and_then(|name| context.btf().ok()?.enumeration(name)).unwrap_or_default());
    let [enabled, demangle, debug_info] =
        ["user_symbols", "cpp_demangle", "show_debug_info"].map(|name| context.settings.is(name));
    let mut user = UserSymbols::new(enabled, demangle, debug_info);
    user.search(&context.options.debug_dirs);
    let mut last = "";
    for place in plan.units.iter().flat_map(|u| &u.places) {
        // A pattern has thousands of places in one file; looking at it takes milliseconds.
        if let How::Uprobe { path, .. } = &place.how
            && path != last
        {
            user.probed(path);
            last = path;
        }
    }
    Renderer {
        manifest: context.manifest,
        probes: plan.names.clone(),
        parameters: context.options.parameters.clone(),
        trailer: context.settings.text("str_trunc_trailer").to_string(),
        wall_offset: wall as i64,
        kernel: KernelSymbols::default(),
        user,
        enums: enums.collect(),
        cgroups: Default::default(),
        users: None,
        format: context.options.format,
    }
}

fn run_begin(context: &Context<'_>, plan: &Plan, loaded: &Loaded) -> Result<()> {
    for unit in plan.units.iter().filter(|u| context.manifest.programs[u.program].attach == AttachPoint::Begin) {
        let program = loaded.program(context, unit)?;
        sys::test_run(program).context("cannot run the begin probe")?;
    }
    Ok(())
}

/// Attaches everything; returns the number of probes.
fn attach_all<'a>(
    context: &Context<'_>,
    plan: &Plan,
    loaded: &'a Loaded,
    open: &mut Vec<OwnedFd>,
    tracer: &mut Tracer<'a>,
) -> Result<usize> {
    let mut attached = 0;
    for unit in attach::in_order(&plan.units) {
        let program = loaded.program(context, unit)?;
        let before = open.len();
        let failed = attach::attach(context, plan, unit, program, open);
        if let Some(Place { id, how: How::Perf(event @ perf::Event { breakpoint: Some((_, address, _)), .. }) }) =
            unit.places.first()
        {
            if *address == watchpoint::LATER {
                let waiting = Waiting { program: unit.program, loaded: program, event: event.clone(), cookie: *id };
                tracer.actions.waiting.push(waiting);
            }
            let set = open[before..].iter().map(|fd| (unit.program, *address, fd.as_raw_fd()));
            tracer.actions.watchpoints.extend(set);
        }
        // Programs of the compiler's own have no name.
        if !context.manifest.programs[unit.program].written.is_empty() {
            let places = unit.places.len() - failed.len().min(unit.places.len());
            attached += match context.manifest.programs[unit.program].attach {
                // A static probe is one, however often the compiler copied it.
                AttachPoint::Usdt { .. } => {
                    let name = |p: &Place| plan.names.get(p.id as usize - 1);
                    let known = |(i, p): (usize, &Place)| unit.places[..i].iter().any(|q| name(q) == name(p));
                    let copies = unit.places.iter().enumerate().filter(|p| known(*p)).count();
                    (unit.places.len() - copies).min(places)
                }
                _ => places,
            };
        }
        let location = context.place(context.manifest.programs[unit.program].location);
        let pattern = attach::is_pattern(&context.manifest.programs[unit.program].attach);
        for e in &failed {
            let message = format!("{location}: {e:#}");
            match pattern {
                // Not everything that a pattern matches can be probed.
                true if context.options.no_warnings => {}
                true => eprintln!("WARNING: {message}"),
                false => report_missing(context, &[message])?,
            }
        }
        if context.options.verbose {
            for place in &unit.places {
                let name = plan.names.get(place.id as usize - 1).map_or("?", |n| n.0.as_str());
                eprintln!("Attaching '{name}' probe");
            }
        }
    }
    Ok(attached)
}

/// Says that all probes are attached, to people and to test harnesses.
fn announce(tracer: &mut Tracer<'_>, attached: usize) {
    let options = &tracer.actions.context.options;
    if options.quiet {
    } else if tracer.actions.renderer.is_json() {
        let line =
            format!("{{\"type\": \"attached_probes\", \"count\": {attached}, \"data\": {{\"probes\": {attached}}}}}\n");
        tracer.actions.output.buffer.extend_from_slice(line.as_bytes());
    } else {
        eprintln!("Attached {attached} probe{}", if attached == 1 { "" } else { "s" });
    }
    notify_service_manager("READY=1");
    if std::env::var_os("__BPFTRACE_NOTIFY_PROBES_ATTACHED").is_some() {
        let _ = sys::write_all(libc::STDOUT_FILENO, b"__BPFTRACE_NOTIFY_PROBES_ATTACHED\n");
    }
}

/// Tells systemd (`Type=notify`) that the service is ready, or about to end: a
/// datagram to the socket that the environment names, `@` being an abstract one
/// (sd_notify(3)). Nobody may listen any more; that is no reason to stop.
pub fn notify_service_manager(state: &str) {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&name),
    };
    if let (Ok(socket), Ok(address)) = (UnixDatagram::unbound(), address) {
        let _ = socket.send_to_addr(state.as_bytes(), &address);
    }
}

/// Iterators that are not pinned are run once the tracer reads.
fn open_iterators(context: &Context<'_>, plan: &Plan, open: &[OwnedFd], tracer: &mut Tracer<'_>) -> Result<()> {
    let only =
        plan.units.iter().all(|u| matches!(u.places.first().map(|p| &p.how), Some(How::Iter { .. } | How::Once)));
    if !only {
        return Ok(());
    }
    let pinned = |u: &attach::Unit| matches!(&u.places[0].how, How::Iter { pin: Some(_), .. });
    let iterators = plan.units.iter().filter(|u| matches!(u.places[0].how, How::Iter { .. }));
    for (unit, link) in iterators.zip(open.iter()) {
        if !pinned(unit) {
            let place = context.place(context.manifest.programs[unit.program].location);
            tracer.iterators.push(attach::iter::open(link.as_fd()).context(place)?);
        }
    }
    Ok(())
}

/// Is there a probe that may still fire, or something else to wait for? A
/// script of begin and end alone ends by itself.
fn lives_on(context: &Context<'_>, plan: &Plan) -> bool {
    let waits = |u: &attach::Unit| {
        let signal = matches!(context.manifest.programs[u.program].attach, AttachPoint::SelfSignal { .. });
        signal || u.places.iter().any(|p| !matches!(p.how, How::Once | How::Iter { .. }))
    };
    plan.units.iter().any(waits) || context.child.is_some() || context.options.pid.is_some()
}
