//! The running tracer: waits for records, signals and processes, and ends.
//!
//! In: everything loaded and attached. Out: an exit status. One thread: the
//! ring is drained, then output is written, then the tracer waits. After a
//! burst it sleeps a millisecond instead of waiting, because the kernel wakes
//! a reader that has caught up for every single record.

use crate::action::{Actions, keeps_user_addresses};
use crate::attach::Plan;
use crate::child::Child;
use crate::maps;
use crate::render::map::Selection;
use crate::ring::Ring;
use crate::sys;
use anyhow::{Context as _, Result};
use btc_payload::manifest::{LOSS_COUNTERS, LossCounter, MapId, MapRole};
use btc_payload::probe::AttachPoint;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Records from which on a batch counts as a burst.
const BURST: usize = 8;
/// How long to let records gather after a burst, in milliseconds.
const GATHER: i32 = 1;
/// How often losses are reported while events come.
const LOSS_INTERVAL: Duration = Duration::from_secs(1);

/// How often new processes are looked for in maps with user addresses.
const REMEMBER_INTERVAL: Duration = Duration::from_millis(500);

/// Signals that the tracer handles, all of them through a descriptor.
const SIGNALS: &[(&str, i32)] = &[
    ("SIGINT", libc::SIGINT),
    ("SIGTERM", libc::SIGTERM),
    ("SIGCHLD", libc::SIGCHLD),
    ("SIGHUP", libc::SIGHUP),
    ("SIGUSR1", libc::SIGUSR1),
    ("SIGUSR2", libc::SIGUSR2),
];

/// Time after which signals are looked at, and records after which the clock is.
const TURN: std::time::Duration = std::time::Duration::from_millis(50);
const TURN_RECORDS: u32 = 16;

/// Time in which the commands that are left at the end are still run.
const LAST_COMMANDS: std::time::Duration = std::time::Duration::from_secs(1);

/// The descriptor that signals arrive at.
pub struct Signals(OwnedFd);

impl Signals {
    /// Blocks the signals; before any child is started, so that none is missed.
    pub fn block() -> Result<Signals> {
        // SAFETY: the set is initialised before it is used.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            for (_, signal) in SIGNALS {
                libc::sigaddset(&mut set, *signal);
            }
            libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            match libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
                -1 => Err(io::Error::last_os_error()).context("cannot receive signals"),
                fd => Ok(Signals(OwnedFd::from_raw_fd(fd))),
            }
        }
    }

    /// The next signal that has arrived.
    fn next(&self) -> Option<i32> {
        // SAFETY: an all-zero structure is valid.
        let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let size = size_of_val(&info);
        // SAFETY: the buffer has the stated size.
        let n = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut info).cast(), size) };
        (n == size as isize).then_some(info.ssi_signo as i32)
    }
}

/// A running tracer.
pub struct Tracer<'a> {
    /// What records do.
    pub actions: Actions<'a>,
    /// What was planned.
    pub plan: &'a Plan,
    /// The ring, when the script sends records.
    pub ring: Option<Ring<'a>>,
    /// Signals.
    pub signals: Signals,
    /// The `-c` child.
    pub child: Option<Child>,
    /// The `-p` process.
    pub process: Option<OwnedFd>,
    /// Iterators still to be run.
    pub iterators: Vec<OwnedFd>,
    lost: Vec<u64>,
    checked: Instant,
    ending: bool,
    /// Are there maps with user addresses, whose processes must be looked at in time?
    remembers: bool,
    remembered: Instant,
}

impl<'a> Tracer<'a> {
    /// Everything that runs until the end.
    pub fn new(
        actions: Actions<'a>,
        plan: &'a Plan,
        ring: Option<Ring<'a>>,
        signals: Signals,
        child: Option<Child>,
        process: Option<OwnedFd>,
    ) -> Tracer<'a> {
        let lost = vec![0; LOSS_COUNTERS as usize];
        let remembers = actions.context.manifest.maps.iter().any(keeps_user_addresses);
        Tracer {
            actions,
            plan,
            ring,
            signals,
            child,
            process,
            iterators: Vec::new(),
            lost,
            checked: Instant::now(),
            ending: false,
            remembers,
            remembered: Instant::now(),
        }
    }

    /// Runs until the script, a signal or a process ends it; then END probes,
    /// maps, losses. Returns the exit status.
    pub fn run(&mut self, ring_fd: i32, forever: bool) -> i32 {
        let reader = self.read_iterators();
        while !self.ending {
            let count = self.drain();
            self.actions.output.flush();
            if self.actions.exit.is_some() || self.actions.output.closed() {
                break;
            }
            self.report_losses(false);
            if !forever && reader.is_none() {
                break;
            }
            if reader.as_ref().is_some_and(std::thread::JoinHandle::is_finished) {
                self.drain();
                break;
            }
            if self.remembers && self.remembered.elapsed() >= REMEMBER_INTERVAL {
                self.actions.remember_processes();
                self.remembered = Instant::now();
            }
            let wait = match (count >= BURST, reader.is_some()) {
                (true, _) => GATHER,
                (false, true) => 10,
                (false, false) if self.remembers => REMEMBER_INTERVAL.as_millis() as i32,
                (false, false) => -1,
            };
            self.wait(if count >= BURST { -1 } else { ring_fd }, wait);
        }
        self.finish()
    }

    /// Iterators run in a thread of their own: they are done within one system
    /// call, while the ring must be emptied.
    fn read_iterators(&mut self) -> Option<std::thread::JoinHandle<()>> {
        let iterators = std::mem::take(&mut self.iterators);
        if iterators.is_empty() {
            return None;
        }
        Some(std::thread::spawn(move || iterators.into_iter().for_each(crate::attach::iter::read_all)))
    }

    /// Handles the records that have come; how many.
    pub fn drain(&mut self) -> usize {
        let actions = &mut self.actions;
        let (start, mut handled) = (Instant::now(), 0u32);
        // Records may come faster than they are handled, such as commands to be run:
        // signals want to be looked at all the same.
        let mut record = |record: &[u8]| {
            handled += 1;
            actions.record(record) && (!handled.is_multiple_of(TURN_RECORDS) || start.elapsed() < TURN)
        };
        self.ring.as_mut().map_or(0, |r| r.consume(&mut record))
    }

    /// Waits for records (unless `ring` is -1), signals and processes.
    fn wait(&mut self, ring: i32, timeout: i32) {
        let poll = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let process = self.process.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        let mut fds = [poll(self.signals.0.as_raw_fd()), poll(process), poll(ring)];
        // SAFETY: the array is valid; negative descriptors are ignored.
        unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as _, timeout) };
        if fds[0].revents != 0 {
            while let Some(signal) = self.signals.next() {
                self.signal(signal);
            }
        }
        if fds[1].revents != 0 {
            self.ending = true;
        }
    }

    fn signal(&mut self, signal: i32) {
        if self.self_signal(signal) {
            return;
        }
        match signal {
            libc::SIGCHLD => {
                let user = &mut self.actions.renderer.user;
                self.ending |= self.child.as_mut().is_some_and(|c| c.ended(|pid| user.remember(pid)).is_some());
            }
            libc::SIGUSR1 => self.print_maps(),
            libc::SIGUSR2 => {}
            libc::SIGHUP if self.actions.context.options.output.is_some() => {
                if let Err(e) = self.actions.output.reopen() {
                    eprintln!("ERROR: {e:#}");
                }
            }
            _ => self.ending = true,
        }
    }

    /// Runs the probes that wait for a signal; false when there are none.
    fn self_signal(&mut self, signal: i32) -> bool {
        let Some((name, _)) = SIGNALS.iter().find(|s| s.1 == signal) else { return false };
        let context = self.actions.context;
        let mut any = false;
        for unit in &self.plan.units {
            if let AttachPoint::SelfSignal { signal } = &context.manifest.programs[unit.program].attach
                && signal.trim_start_matches("SIG") == name.trim_start_matches("SIG")
            {
                any = true;
                self.run_unit(unit);
            }
        }
        any
    }

    fn run_unit(&self, unit: &crate::attach::Unit) {
        let context = self.actions.context;
        let result = self.actions.loaded.program(context, unit).and_then(|p| Ok(sys::test_run(p)?));
        if let Err(e) = result {
            eprintln!("ERROR: cannot run {}: {e:#}", context.manifest.programs[unit.program].written);
        }
    }

    /// What comes after the last event.
    fn finish(&mut self) -> i32 {
        let context = self.actions.context;
        let status = self.actions.exit.take();
        crate::notify_service_manager("STOPPING=1");
        self.close_gate();
        for unit in &self.plan.units {
            if context.manifest.programs[unit.program].attach == AttachPoint::End {
                self.run_unit(unit);
            }
        }
        if let Some(ring) = &mut self.ring {
            let actions = &mut self.actions;
            actions.last_command = Some(Instant::now() + LAST_COMMANDS);
            loop {
                let taken = ring.consume(|record| {
                    actions.record(record);
                    actions.exit = None;
                    !actions.output.closed()
                });
                if taken == 0 || actions.output.closed() {
                    break;
                }
            }
        }
        if !self.actions.renderer.is_json() {
            self.actions.output.buffer.extend_from_slice(b"\n\n");
        }
        if context.settings.is("print_maps_on_exit") {
            self.print_maps();
        }
        self.actions.output.flush();
        self.report_losses(true);
        self.actions.report_faults();
        self.actions.output.flush();
        if context.options.verbose {
            self.report_counts();
        }
        if self.actions.unrun > 0 {
            eprintln!("WARNING: {} commands of system() were not run: the tracer had to end", self.actions.unrun);
        }
        status.unwrap_or(0).max(self.actions.output.failed().into())
    }

    /// Makes all probes return at once from now on, and waits for those that run:
    /// what END does to maps, and what is printed of them, is final.
    fn close_gate(&self) {
        let context = self.actions.context;
        let gate = crate::manifest_map(context, MapRole::Gate).and_then(|id| self.actions.loaded.map(context, id));
        let Some(gate) = gate else { return };
        match maps::set_word(gate, 1) {
            // Programs run within RCU read sections; the barrier is one grace period, some 10 ms.
            Ok(()) => sys::rcu_barrier(),
            Err(e) => eprintln!("WARNING: probes stay active while the tracer ends: {e}"),
        }
    }

    /// Prints the script's maps by name.
    fn print_maps(&mut self) {
        let maps = &self.actions.context.manifest.maps;
        let mut ids: Vec<usize> = (0..maps.len()).filter(|&i| maps[i].role == MapRole::Script).collect();
        ids.sort_by(|&a, &b| maps[a].name.cmp(&maps[b].name));
        for id in ids {
            self.actions.print_map(MapId(id as u32), Selection::default(), false);
        }
        self.actions.output.flush();
    }

    /// Reports what was lost since the last time.
    fn report_losses(&mut self, at_end: bool) {
        if !at_end && self.checked.elapsed() < LOSS_INTERVAL {
            return;
        }
        self.checked = Instant::now();
        let context = self.actions.context;
        let Some(map) = context.manifest.maps.iter().position(|m| m.role == MapRole::Losses) else { return };
        let Some(fd) = self.actions.loaded.map(context, MapId(map as u32)) else { return };
        let now = maps::read_counters(fd, LOSS_COUNTERS, sys::possible_cpus());
        let fresh = |c: LossCounter| now[c as usize].wrapping_sub(self.lost[c as usize]);
        let (events, skipped, full) =
            (fresh(LossCounter::Events), fresh(LossCounter::Scratch), fresh(LossCounter::MapFull));
        let json = self.actions.renderer.is_json();
        if events > 0 && json {
            self.json_count("lost_events", "events", events);
        } else if events > 0 {
            eprintln!("Lost {events} events");
        }
        if skipped > 0 && json {
            self.json_count("skipped_probes", "probes", skipped);
        } else if skipped > 0 && !context.options.no_warnings {
            eprintln!("WARNING: Skipped {skipped} probe executions: too many at once on one CPU");
        }
        if full > 0 && json {
            self.json_count("map_full", "updates", full);
        } else if full > 0 && !context.options.no_warnings {
            eprintln!(
                "WARNING: Map full; can't update element: {full} updates were refused. Try increasing max_map_keys config, \
                 --map @NAME=N, or the entries in a map declaration e.g. `let @a = hash(5000)`"
            );
        }
        let total = now[LossCounter::Events as usize];
        if at_end && total > 0 && !context.options.no_warnings {
            eprintln!("WARNING: Total lost event count: {total}");
        }
        self.lost = now;
    }

    /// What `-v` tells at the end.
    fn report_counts(&self) {
        let of = |c: LossCounter| self.lost[c as usize];
        eprintln!(
            "{} events, {} lost; {} probe executions skipped; {} map updates refused",
            self.actions.records,
            of(LossCounter::Events),
            of(LossCounter::Scratch),
            of(LossCounter::MapFull)
        );
        eprint!("{}", self.actions.fill_levels());
    }

    fn json_count(&mut self, kind: &str, what: &str, count: u64) {
        let line = format!("{{\"type\": \"{kind}\", \"count\": {count}, \"data\": {{\"{what}\": {count}}}}}\n");
        self.actions.output.buffer.extend_from_slice(line.as_bytes());
        self.actions.output.piece();
    }
}

/// Leaves the open probes to a child and lets the tracer exit at once: closing
/// a tracepoint waits for an RCU grace period, some 50 ms, for each in turn.
pub fn leave_detaching() {
    // SAFETY: the child calls only async-signal-safe functions and exits, which
    // closes what it holds.
    unsafe {
        if libc::fork() == 0 {
            libc::setsid();
            for fd in 0..3 {
                libc::close(fd);
            }
            libc::_exit(0);
        }
    }
}
