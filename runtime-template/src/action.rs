//! What a record makes the tracer do.
//!
//! In: records of the ring. Out: output, changed maps, files read, commands
//! run, the wish to exit. Rendering is done elsewhere.

use crate::attach::watchpoint::Waiting;
use crate::context::Context;
use crate::event::{Layouts, integer};
use crate::load::Loaded;
use crate::maps;
use crate::output::Output;
use crate::render::Renderer;
use crate::render::json;
use crate::render::map::{Selection, is_block};
use anyhow::{Context as _, Result};
use btc_payload::event::{Action, Event, EventId, RECORD_HEADER};
use btc_payload::format::Format;
use btc_payload::layout::{ValueType, fields_layout};
use btc_payload::manifest::{LocationId, Map, MapId, MapRole};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::RawFd;
use std::process::{Command, Stdio};

/// All that actions work on.
pub struct Actions<'a> {
    /// The run.
    pub context: &'a Context<'a>,
    /// Maps.
    pub loaded: &'a Loaded,
    /// Where output goes.
    pub output: Output,
    /// How values look.
    pub renderer: Renderer<'a>,
    layouts: Layouts,
    cpus: u32,
    /// Capture files written in this run.
    captures: BTreeMap<String, File>,
    /// Watchpoints: program, address and descriptor of the event or its link.
    pub watchpoints: Vec<(usize, u64, RawFd)>,
    /// Watchpoints whose addresses programs send.
    pub waiting: Vec<Waiting<'a>>,
    /// Status that the script wants to exit with.
    pub exit: Option<i32>,
    /// Records handled.
    pub records: u64,
    /// When the tracer ends: after this time no command is run any more.
    pub last_command: Option<std::time::Instant>,
    /// Commands that were not run for that reason.
    pub unrun: u64,
    /// Faults of programs that were told, and how often each happened.
    faults: Vec<(EventId, u64)>,
}

impl<'a> Actions<'a> {
    /// For a loaded script.
    pub fn new(context: &'a Context<'a>, loaded: &'a Loaded, output: Output, renderer: Renderer<'a>) -> Actions<'a> {
        let layouts = Layouts::new(&context.manifest.events);
        let cpus = crate::sys::possible_cpus();
        let captures = BTreeMap::new();
        let (watchpoints, waiting) = (Vec::new(), Vec::new());
        let (exit, records, last_command, unrun) = (None, 0, None, 0);
        Actions {
            context,
            loaded,
            output,
            renderer,
            layouts,
            cpus,
            captures,
            watchpoints,
            waiting,
            exit,
            records,
            last_command,
            unrun,
            faults: Vec::new(),
        }
    }

    /// Handles one record; false when the tracer shall stop reading.
    pub fn record(&mut self, record: &[u8]) -> bool {
        let Some(id) = self.layouts.identify(record) else { return true };
        self.records += 1;
        let event = &self.context.manifest.events[id.0 as usize];
        if let Err(e) = self.act(id, event, record) {
            self.message("ERROR", &format!("{e:#}"), event.location);
        }
        self.output.piece();
        self.exit.is_none() && !self.output.closed()
    }

    fn act(&mut self, id: EventId, event: &'a Event, record: &[u8]) -> Result<()> {
        match &event.action {
            Action::Printf(format) => {
                self.in_line("printf", |a, out| a.format(out, format, id, event, record, 0));
            }
            Action::Errorf(format) => self.report("ERROR", "errorf", format, id, event, record),
            Action::Warnf(format) if !self.context.options.no_warnings => {
                self.report("WARNING", "warnf", format, id, event, record);
            }
            Action::Warnf(_) => {}
            Action::Print => self.print(id, event, record),
            Action::PrintMap(map) => {
                let number = |i| integer(self.layouts.field(id, record, i), 4, false) as u32;
                let selection = Selection { top: number(0), div: number(1) };
                self.print_map(*map, selection, true);
            }
            Action::PrintMapEntry(map) => self.print_entry(*map, id, record),
            Action::Clear(map) => self.clear(*map)?,
            Action::Zero(map) => self.change(*map, maps::zero)?,
            Action::Time { format } => {
                self.in_line("time", |_, out| crate::render::time::now(out, format));
            }
            Action::Join { separator } => self.join(separator, event, record),
            Action::Cat(format) => self.cat(format, id, event, record)?,
            Action::System(format) => self.system(format, id, event, record)?,
            Action::Exit => self.exit = Some(integer(self.layouts.field(id, record, 0), 8, true) as i32),
            Action::HelperError { helper } => {
                let code = integer(self.layouts.field(id, record, 0), 8, true);
                self.helper_error(helper, code as i32, event.location);
            }
            Action::Fault(fault) => self.fault(id, fault.message(), event.location),
            Action::Unwatch => {
                let address = integer(self.layouts.field(id, record, 0), 8, false) as u64;
                self.watchpoints.iter().filter(|w| w.1 == address).for_each(|w| crate::sys::disable_perf(w.2));
                self.watchpoints.retain(|w| w.1 != address);
            }
            Action::Watch { program, stopped } => {
                let address = integer(self.layouts.field(id, record, 0), 8, false) as u64;
                let set = self.watch(*program as usize, address);
                if let Some(pid) = self.context.traced_pid().filter(|_| *stopped) {
                    // SAFETY: takes integers.
                    unsafe { libc::kill(pid as i32, libc::SIGCONT) };
                }
                set?;
            }
            Action::SkbOutput { path } => self.capture(path, id, record)?,
            Action::AssertFailed { message } => {
                self.message("ERROR", message, event.location);
                self.exit = Some(1);
            }
        }
        Ok(())
    }

    /// Sets a watchpoint where a program wants it, unless it is set there already.
    fn watch(&mut self, program: usize, address: u64) -> Result<()> {
        let waiting = self.waiting.iter().find(|w| w.program == program);
        let known = self.watchpoints.iter().any(|w| (w.0, w.1) == (program, address));
        if let (Some(waiting), Some(pid), false) = (waiting, self.context.traced_pid(), known) {
            let set = waiting.set(address, pid)?;
            self.watchpoints.extend(set.into_iter().map(|fd| (program, address, fd)));
        }
        Ok(())
    }

    /// Runs `f` on the output buffer, within a JSON line of a kind when the output is JSON.
    fn in_line(&mut self, kind: &str, f: impl FnOnce(&mut Self, &mut Vec<u8>)) {
        let mut out = std::mem::take(&mut self.output.buffer);
        if self.renderer.is_json() {
            let mut text = Vec::new();
            f(self, &mut text);
            json::line(&mut out, kind, &text);
        } else {
            f(self, &mut out);
        }
        self.output.buffer = out;
    }

    /// Appends a format; arguments are the fields from `first` on.
    fn format(&mut self, out: &mut Vec<u8>, format: &Format, id: EventId, event: &Event, record: &[u8], first: usize) {
        let layouts = &self.layouts;
        let arguments = event.fields.iter().enumerate().skip(first).map(|(i, ty)| (ty, layouts.field(id, record, i)));
        self.renderer.printf(out, format, arguments);
    }

    fn formatted(&mut self, format: &Format, id: EventId, event: &Event, record: &[u8]) -> String {
        let mut out = Vec::new();
        self.format(&mut out, format, id, event, record, 0);
        String::from_utf8_lossy(&out).into_owned()
    }

    fn report(&mut self, level: &str, kind: &str, format: &Format, id: EventId, event: &Event, record: &[u8]) {
        let text = self.formatted(format, id, event, record);
        if self.renderer.is_json() {
            let out = &mut self.output.buffer;
            out.extend_from_slice(format!("{{\"type\": \"{kind}\", \"msg\": ").as_bytes());
            json::push_string(out, text.as_bytes());
            push_location(out, self.context, event.location);
        } else {
            self.message(level, text.strip_suffix('\n').unwrap_or(&text), event.location);
        }
    }

    /// A message on stderr, in order with the output.
    fn message(&mut self, level: &str, text: &str, location: LocationId) {
        self.output.flush();
        let place = self.context.manifest.locations.get(location.0 as usize);
        let place = place.map(|l| format!("{}:{}:{}-{}: ", l.file, l.line, l.column, l.column as usize + l.text.len()));
        eprintln!("{}{level}: {text}", place.unwrap_or_default());
    }

    fn helper_error(&mut self, helper: &str, code: i32, location: LocationId) {
        if self.context.options.no_warnings {
            return;
        }
        let map_full = code == -libc::E2BIG && helper == "map_update_elem";
        let text = if map_full {
            "Map full; can't update element. Try increasing max_map_keys config or manually setting the max entries \
             in a map declaration e.g. `let @a = hash(5000)`"
                .to_string()
        } else if code == 0 {
            "Can't lookup map element because it does not exist.".to_string()
        } else {
            crate::render::names::error_text(code)
        };
        if self.renderer.is_json() {
            let out = &mut self.output.buffer;
            out.extend_from_slice(b"{\"type\": \"helper_error\", \"msg\": ");
            json::push_string(out, text.as_bytes());
            out.extend_from_slice(format!(", \"helper\": \"{helper}\", \"retcode\": {code}").as_bytes());
            push_location(out, self.context, location);
        } else {
            let excerpt = self.excerpt(location);
            let text = format!("{text}\nAdditional Info - helper: {helper}, retcode: {code}{excerpt}");
            self.message("WARNING", &text, location);
        }
    }

    /// A fault is told the first time, and counted.
    fn fault(&mut self, id: EventId, text: &str, location: LocationId) {
        if let Some((_, count)) = self.faults.iter_mut().find(|f| f.0 == id) {
            *count += 1;
            return;
        }
        self.faults.push((id, 1));
        if self.renderer.is_json() {
            let out = &mut self.output.buffer;
            out.extend_from_slice(b"{\"type\": \"runtime_error\", \"msg\": ");
            json::push_string(out, text.as_bytes());
            push_location(out, self.context, location);
        } else if !self.context.options.no_warnings {
            let text = format!("{text}{}", self.excerpt(location));
            self.message("WARNING", &text, location);
        }
    }

    /// Tells of the faults that happened more than once.
    pub fn report_faults(&mut self) {
        for (id, count) in std::mem::take(&mut self.faults) {
            if count > 1 && !self.renderer.is_json() && !self.context.options.no_warnings {
                let location = self.context.manifest.events[id.0 as usize].location;
                self.message("WARNING", &format!("this happened {count} times"), location);
            }
        }
    }

    /// The line of the script that a location is in, with the place marked below.
    fn excerpt(&self, location: LocationId) -> String {
        let Some(l) = self.context.manifest.locations.get(location.0 as usize) else { return String::new() };
        let line = self.context.source.lines().nth((l.line as usize).wrapping_sub(1)).unwrap_or_default();
        let before = (l.column as usize).saturating_sub(1);
        // Other files than the script may be meant: headers, the standard library.
        if line.get(before..).is_none_or(|rest| !rest.starts_with(&*l.text)) {
            return String::new();
        }
        format!("\n{line}\n{:before$}{}", "", "~".repeat(l.text.chars().count()))
    }

    fn print(&mut self, id: EventId, event: &Event, record: &[u8]) {
        if let Some(ty) = event.fields.first() {
            self.print_value(ty, self.layouts.field(id, record, 0));
        }
    }

    fn print_value(&mut self, ty: &ValueType, bytes: &[u8]) {
        let out = &mut self.output.buffer;
        if self.renderer.is_json() {
            json::open(out, "value");
            self.renderer.json(out, ty, bytes);
            json::close(out);
        } else {
            self.renderer.text(out, ty, bytes);
            out.push(b'\n');
        }
    }

    /// Notes what the processes map whose stacks are keys of maps, before they are gone.
    pub fn remember_processes(&mut self) {
        for (i, map) in self.context.manifest.maps.iter().enumerate() {
            let Some(fd) = self.loaded.map(self.context, MapId(i as u32)).filter(|_| keeps_user_addresses(map)) else {
                continue;
            };
            for pid in maps::user_processes(fd, self.long_keys(MapId(i as u32)).map(|k| k.1), map) {
                if !self.renderer.user.knows(pid) {
                    self.renderer.user.remember(pid);
                }
            }
        }
    }

    /// A line for people about each map of the script: how full it is.
    pub fn fill_levels(&self) -> String {
        let mut out = String::new();
        for (i, map) in self.context.manifest.maps.iter().enumerate().filter(|(_, m)| m.role == MapRole::Script) {
            let Some((_, fd)) = self.map(MapId(i as u32)) else { continue };
            let room = libbpf_rs::MapInfo::new(fd).map_or(0, |info| info.info.max_entries);
            let used = maps::read(fd, self.long_keys(MapId(i as u32)).map(|k| k.1), map, self.cpus).len();
            out += &format!("map {}: {used} of {room} entries\n", map.name);
        }
        out
    }

    /// Prints a map. `asked`: by the script, not because the run ends.
    pub fn print_map(&mut self, id: MapId, selection: Selection, asked: bool) {
        let Some((map, fd)) = self.map(id) else { return };
        let mut entries = maps::read(fd, self.long_keys(id).map(|k| k.1), map, self.cpus);
        // A map without keys always has its value, zero at first.
        if asked && entries.is_empty() && map.key == ValueType::Unit && !is_block(&map.value) {
            entries.push(maps::Entry { key: Vec::new(), value: vec![0; map.value_size() as usize] });
        }
        self.renderer.map(&mut self.output.buffer, map, &entries, selection);
        self.output.piece();
    }

    fn print_entry(&mut self, map: MapId, id: EventId, record: &[u8]) {
        let Some((map, fd)) = self.map(map) else { return };
        let value = maps::read_one(fd, map, self.layouts.field(id, record, 0), self.cpus);
        self.print_value(&map.value, &value);
    }

    fn map(&self, id: MapId) -> Option<(&'a Map, std::os::fd::BorrowedFd<'a>)> {
        let map = self.context.manifest.maps.get(id.0 as usize)?;
        Some((map, self.loaded.map(self.context, id)?))
    }

    /// The map that holds the keys of a map by their hashes.
    fn long_keys(&self, id: MapId) -> Option<(&'a Map, std::os::fd::BorrowedFd<'a>)> {
        let maps = &self.context.manifest.maps;
        let keys = maps.iter().position(|m| m.role == MapRole::Keys(id))?;
        self.map(MapId(keys as u32))
    }

    fn clear(&mut self, id: MapId) -> Result<()> {
        self.change(id, maps::clear)?;
        if let (Some((map, fd)), Some((keys_map, keys))) = (self.map(id), self.long_keys(id)) {
            maps::forget_keys(fd, keys, keys_map, map, self.cpus);
        }
        Ok(())
    }

    fn change(&mut self, id: MapId, f: impl Fn(std::os::fd::BorrowedFd<'_>, &Map, u32) -> Result<()>) -> Result<()> {
        self.map(id).map_or(Ok(()), |(map, fd)| f(fd, map, self.cpus))
    }

    /// Joins strings. Their number and the array come as two fields, or as one tuple of both.
    fn join(&mut self, separator: &str, event: &Event, record: &[u8]) {
        let tuple = match event.fields.as_slice() {
            [ValueType::Tuple(parts)] => parts.as_slice(),
            fields => fields,
        };
        let [_, ValueType::Array { elem, len }] = tuple else { return };
        let (offsets, _) = fields_layout(tuple.iter());
        let body = record.get(RECORD_HEADER as usize..).unwrap_or(&[]);
        let count = integer(body, 4, false) as u32;
        let strings = offsets.get(1).and_then(|&at| body.get(at as usize..)).unwrap_or(&[]);
        self.in_line("join", |a, out| {
            for i in 0..count.min(*len) {
                if i > 0 {
                    out.extend_from_slice(separator.as_bytes());
                }
                a.renderer.text(out, elem, crate::render::text::slice(strings, i * elem.size(), elem.size()));
            }
            if !a.renderer.is_json() {
                out.push(b'\n');
            }
        });
    }

    fn cat(&mut self, format: &Format, id: EventId, event: &Event, record: &[u8]) -> Result<()> {
        let path = self.formatted(format, id, event, record);
        let limit = self.context.settings.number("max_cat_bytes");
        let file = std::fs::File::open(&path).map_err(|e| {
            let why = crate::render::names::error_text(e.raw_os_error().unwrap_or(0));
            anyhow::anyhow!("failed to open file '{path}' ({why})")
        })?;
        let mut content = Vec::new();
        file.take(limit).read_to_end(&mut content).with_context(|| format!("failed to read file '{path}'"))?;
        self.in_line("cat", |_, out| out.extend_from_slice(&content));
        Ok(())
    }

    fn system(&mut self, format: &Format, id: EventId, event: &Event, record: &[u8]) -> Result<()> {
        if self.last_command.is_some_and(|end| std::time::Instant::now() > end) {
            self.unrun += 1;
            return Ok(());
        }
        let command = self.formatted(format, id, event, record);
        self.output.flush();
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(&command).stdout(Stdio::piped());
        // SAFETY: only async-signal-safe calls; signals are blocked here, and
        // a command must not inherit that.
        unsafe {
            std::os::unix::process::CommandExt::pre_exec(&mut shell, || {
                let mut none: libc::sigset_t = std::mem::zeroed();
                libc::sigemptyset(&mut none);
                libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
                Ok(())
            });
        }
        let mut running = shell.spawn().with_context(|| format!("cannot run `{command}`"))?;
        let mut content = Vec::new();
        if let Some(mut pipe) = running.stdout.take() {
            pipe.read_to_end(&mut content).with_context(|| format!("cannot read from `{command}`"))?;
        }
        running.wait().with_context(|| format!("cannot wait for `{command}`"))?;
        self.in_line("syscall", |_, out| out.extend_from_slice(&content));
        Ok(())
    }

    /// Appends a packet to a capture file in pcap format.
    fn capture(&mut self, path: &str, id: EventId, record: &[u8]) -> Result<()> {
        let at = integer(self.layouts.field(id, record, 0), 8, false) as u64;
        let at = at.wrapping_add(self.renderer.wall_offset as u64);
        let length = integer(self.layouts.field(id, record, 1), 4, false) as u32;
        let data = crate::render::text::buffer(self.layouts.field(id, record, 2));
        let mut bytes = Vec::with_capacity(data.len() + 40);
        let file = match self.captures.entry(path.to_string()) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(new) => {
                // Magic for microseconds, version 2.4, zone, accuracy, snapshot length, LINKTYPE_RAW:
                // packets begin with their IP header.
                for w in [0xa1b2_c3d4u32, 4 << 16 | 2, 0, 0, 65_535, 101] {
                    bytes.extend_from_slice(&w.to_le_bytes());
                }
                new.insert(File::create(path).with_context(|| format!("cannot write {path}"))?)
            }
        };
        let (seconds, micros) = (at / 1_000_000_000, at % 1_000_000_000 / 1000);
        for w in [seconds as u32, micros as u32, data.len() as u32, length] {
            bytes.extend_from_slice(&w.to_le_bytes());
        }
        bytes.extend_from_slice(data);
        file.write_all(&bytes).with_context(|| format!("cannot write {path}"))
    }
}

/// Are user addresses kept in a map's keys?
pub fn keeps_user_addresses(map: &Map) -> bool {
    !maps::user_process_offsets(&map.key, 0).is_empty()
}

fn push_location(out: &mut Vec<u8>, context: &Context<'_>, location: LocationId) {
    if let Some(l) = context.manifest.locations.get(location.0 as usize) {
        out.extend_from_slice(b", \"filename\": ");
        json::push_string(out, l.file.as_bytes());
        out.extend_from_slice(format!(", \"line\": {}, \"col\": {}", l.line, l.column).as_bytes());
    }
    json::close(out);
}
