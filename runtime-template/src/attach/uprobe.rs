//! Functions and addresses in user binaries.
//!
//! In: a path, a library name or a program name, and a symbol, pattern or
//! address. Out: file offsets, then perf events or one uprobe.multi link per
//! file. Binaries are those of the target, in the mount namespace of the traced
//! process where `-p` names one.

use super::{Found, How, Place, boundary, kprobe::pmu_type};
use crate::context::Context;
use crate::sys::{self, PERF_DISABLED, PerfAttr};
use crate::target::files;
use anyhow::{Context as _, Result, bail};
use btc_payload::binary::BinaryId;
use btc_payload::probe::{Text, UserLocation, is_pattern, pattern_matches};
use btc_payload::start::user_base;
use goblin::elf::Elf;
use goblin::elf::program_header::{PF_X, PT_LOAD, PT_NOTE, ProgramHeader};
use goblin::elf::section_header::SectionHeader;
use goblin::elf::sym::{STT_FUNC, STT_GNU_IFUNC, Sym};
use libbpf_rs::libbpf_sys as bpf;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Flag of uprobe.multi: at the return.
const MULTI_RETURN: u32 = 1;

/// Places in one file, as the kernel wants them.
#[derive(Default)]
struct Offsets {
    offsets: Vec<libc::c_ulong>,
    semaphores: Vec<libc::c_ulong>,
    ids: Vec<u64>,
}

/// A function of a binary.
struct Symbol {
    name: String,
    address: u64,
    size: u64,
}

/// Resolves paths and symbols.
pub fn expand(
    context: &Context<'_>,
    ret: bool,
    path: &Text,
    at: &UserLocation,
    build: Option<&BinaryId>,
) -> Result<Vec<Found>> {
    let kind = if ret { "uretprobe" } else { "uprobe" };
    let written = context.text(path)?;
    let mut found = Vec::new();
    for path in context.binaries(&written)? {
        let file = files::Mapped::open(&path)?;
        let elf = Elf::parse(&file);
        if let (Some(build), Ok(elf)) = (build, &elf) {
            check_build(&path, &file, elf, build)?;
        }
        if ret && !context.allows_unsafe() && elf.as_ref().is_ok_and(|e| section(e, ".go.buildinfo").is_some()) {
            bail!("{path} is a Go program: it moves its stacks and dies of the changed return address{UNSAFE_HINT}");
        }
        let mut mistaken = Vec::new();
        let mut add = |what: String, function: &str, offset: u64| {
            let code = file.get(offset as usize..).unwrap_or(&[]);
            if boundary::mistaken(code) && !context.allows_unsafe() {
                mistaken.push(what);
                return;
            }
            found.push(Found {
                probe: format!("{kind}:{}:{what}", files::shown(&path)),
                function: if function.is_empty() { what } else { function.into() },
                how: How::Uprobe { ret, path: path.clone(), offset, semaphore: 0, arguments: Vec::new() },
            });
        };
        match at {
            UserLocation::Address(address) => {
                let elf = elf.ok();
                let holder = elf.as_ref().and_then(|e| containing(&path, &file, e, *address));
                // A file that is no ELF has no addresses: the number is an offset.
                let offset = elf.as_ref().and_then(|e| code_offset(e, *address)).unwrap_or(*address);
                if !context.allows_unsafe() {
                    let Some(holder) = &holder else {
                        bail!("0x{address:x} lies in no function that {path} names{UNSAFE_HINT}")
                    };
                    check_boundary(&file, offset, address - holder.address)?;
                }
                add(address.to_string(), holder.as_ref().map_or("", |h| &h.name), offset);
            }
            UserLocation::Symbol { name, offset, demangled } => {
                let language = if *demangled { "cpp:" } else { "" };
                let elf = elf.with_context(|| format!("{path} is no ELF file"))?;
                let name = context.text(name)?;
                let mut symbols = BTreeMap::new();
                each_table(&path, &file, &elf, &mut |elf| matching(elf, &name, *demangled, &mut symbols));
                for s in symbols.into_values() {
                    let place = code_offset(&elf, s.address.wrapping_add(*offset))
                        .with_context(|| format!("{} lies in no loaded part of {path}", s.name))?;
                    let unknown = s.size == 0 && *offset == 0 && is_pattern(&name);
                    if *offset >= s.size && !unknown && !(s.size == 0 && context.allows_unsafe()) {
                        let hint = if s.size == 0 { UNSAFE_HINT } else { "" };
                        bail!("{name}+{offset} lies outside of the function, which has {} bytes{hint}", s.size);
                    }
                    if *offset > 0 && !context.allows_unsafe() {
                        check_boundary(&file, place, *offset)?;
                    }
                    let suffix = if *offset == 0 { String::new() } else { format!("+{offset}") };
                    add(format!("{language}{}{suffix}", s.name), &s.name, place);
                }
            }
            UserLocation::Line { places, .. } => {
                let elf = elf.with_context(|| format!("{path} is no ELF file"))?;
                for p in places {
                    let place = code_offset(&elf, p.address)
                        .with_context(|| format!("0x{:x} lies in no loaded part of {path}", p.address))?;
                    add(p.address.to_string(), &p.function, place);
                }
            }
        }
        refuse_mistaken(context, &path, at, &mistaken)?;
    }
    Ok(found)
}

/// Leaves out what a pattern matched, refuses what was named.
fn refuse_mistaken(context: &Context<'_>, path: &str, at: &UserLocation, mistaken: &[String]) -> Result<()> {
    let Some(first) = mistaken.first() else { return Ok(()) };
    let why = "kernels take the AVX instruction there for a jump, which would corrupt the program";
    if !matches!(at, UserLocation::Symbol { name, .. } if is_pattern(&context.text(name)?)) {
        bail!("{first} of {path} cannot be probed: {why}{UNSAFE_HINT}");
    }
    if !context.options.no_warnings {
        eprintln!("WARNING: {} functions of {path} are left out, such as {first}: {why}", mistaken.len());
    }
    Ok(())
}

/// Refuses another build than the one whose debug information was compiled in.
fn check_build(path: &str, file: &[u8], elf: &Elf<'_>, build: &BinaryId) -> Result<()> {
    let found = identity(file, elf);
    if found != *build {
        bail!(
            "{path} is another build than the one this was compiled for ({found}, not {build}): \
             where its arguments and source lines are may have changed; compile again with this binary"
        );
    }
    Ok(())
}

fn identity(file: &[u8], elf: &Elf<'_>) -> BinaryId {
    let content = |kind, flags| {
        let hit = move |p: &&ProgramHeader| p.p_type == kind && p.p_flags & flags == flags;
        let bytes = |p: &ProgramHeader| {
            let start = p.p_offset as usize;
            file.get(start..start.saturating_add(p.p_filesz as usize))
        };
        elf.program_headers.iter().filter(hit).filter_map(bytes)
    };
    BinaryId::of(content(PT_NOTE, 0), content(PT_LOAD, PF_X))
}

/// The debug file of a stripped binary, where distributions install it: its symbol
/// table has what the binary's own lacks.
fn debug_file(path: &str, file: &[u8], elf: &Elf<'_>) -> Option<files::Mapped> {
    let BinaryId::BuildId(id) = identity(file, elf) else { return None };
    if !elf.syms.is_empty() || id.is_empty() {
        return None;
    }
    let (root, name) = (&path[..path.len() - files::shown(path).len()], BinaryId::BuildId(id).to_string());
    files::Mapped::open(&format!("{root}/usr/lib/debug/.build-id/{}/{}.debug", &name[..2], &name[2..])).ok()
}

/// The symbol table that a stripped binary carries in packed form (MiniDebugInfo).
fn packed_symbols(file: &[u8], elf: &Elf<'_>) -> Option<Vec<u8>> {
    if !elf.syms.is_empty() {
        return None;
    }
    let section = section(elf, ".gnu_debugdata")?;
    let start = section.sh_offset as usize;
    btc_payload::xz::unpack(file.get(start..start.checked_add(section.sh_size as usize)?)?)
}

/// A section by its name.
pub fn section<'e>(elf: &'e Elf<'_>, name: &str) -> Option<&'e SectionHeader> {
    elf.section_headers.iter().find(|s| elf.shdr_strtab.get_at(s.sh_name) == Some(name))
}

/// Looks through the symbol tables of a binary: its own and those kept elsewhere.
fn each_table(path: &str, file: &[u8], elf: &Elf<'_>, look: &mut dyn FnMut(&Elf<'_>)) {
    look(elf);
    let (debug, packed) = (debug_file(path, file, elf), packed_symbols(file, elf));
    for file in debug.as_deref().into_iter().chain(packed.as_deref()) {
        if let Ok(debug) = Elf::parse(file) {
            look(&debug);
        }
    }
}

/// The function that an address lies in.
fn containing(path: &str, file: &[u8], elf: &Elf<'_>, address: u64) -> Option<Symbol> {
    let mut found = BTreeMap::new();
    each_table(path, file, elf, &mut |elf| {
        functions(elf, &mut |s, name| {
            let inside = address.checked_sub(s.st_value).is_some_and(|o| o < s.st_size);
            inside.then(|| add_symbol(&mut found, s, name));
        });
    });
    found.into_values().next()
}

/// What a message ends with when `--unsafe` would help.
const UNSAFE_HINT: &str = " (--unsafe probes it all the same, which may corrupt the traced program)";

/// Refuses a place, so far behind the start of its function, where no instruction begins.
fn check_boundary(file: &[u8], place: u64, behind: u64) -> Result<()> {
    let start = place.wrapping_sub(behind) as usize;
    match boundary::begins(file.get(start..).unwrap_or(&[]), behind as usize) {
        Some(true) => Ok(()),
        Some(false) => bail!("the offset is in the middle of an instruction{UNSAFE_HINT}"),
        None => bail!("whether an instruction begins at the offset cannot be told{UNSAFE_HINT}"),
    }
}

/// Functions of a binary that match, one per address.
fn matching(elf: &Elf<'_>, wanted: &str, demangled: bool, found: &mut BTreeMap<u64, Symbol>) {
    let pattern = is_pattern(wanted);
    functions(elf, &mut |s, name| {
        let hit = match (demangled, pattern) {
            (true, _) => btc_payload::demangle::matches(name, wanted),
            (false, true) => pattern_matches(wanted, name),
            (false, false) => name == wanted,
        };
        if hit {
            add_symbol(found, s, name);
        }
    });
}

fn add_symbol(found: &mut BTreeMap<u64, Symbol>, s: &Sym, name: &str) {
    let symbol = Symbol { name: name.to_string(), address: s.st_value, size: s.st_size };
    found.entry(s.st_value).or_insert(symbol);
}

/// Goes through the functions that a binary defines.
fn functions(elf: &Elf<'_>, look: &mut dyn FnMut(&Sym, &str)) {
    for (symbols, names) in [(&elf.syms, &elf.strtab), (&elf.dynsyms, &elf.dynstrtab)] {
        for s in symbols.iter() {
            let function = matches!(s.st_type(), STT_FUNC | STT_GNU_IFUNC);
            if function
                && s.st_shndx != 0
                && s.st_value != 0
                && let Some(name) = names.get_at(s.st_name)
            {
                look(&s, name);
            }
        }
    }
}

/// Offset in the file of a link-time address; only code counts.
pub fn code_offset(elf: &Elf<'_>, address: u64) -> Option<u64> {
    let load = elf.program_headers.iter().find(|p| {
        p.p_type == PT_LOAD && p.p_flags & PF_X != 0 && (p.p_vaddr..p.p_vaddr + p.p_filesz).contains(&address)
    })?;
    Some(address - load.p_vaddr + load.p_offset)
}

/// Offset in the file of any address that is loaded.
pub fn data_offset(elf: &Elf<'_>, address: u64) -> Option<u64> {
    let covers = |p: &&ProgramHeader| p.p_type == PT_LOAD && (p.p_vaddr..p.p_vaddr + p.p_filesz).contains(&address);
    elf.program_headers.iter().find(covers).map(|p| address - p.p_vaddr + p.p_offset)
}

/// `DF_1_PIE` of elf.h: the file is a program, not a library.
const DF_1_PIE: u64 = 0x0800_0000;

/// How addresses of a binary are found in a process (`user_base`), and the
/// link-time address of what is known there.
pub fn base(context: &Context<'_>, path: &str, at: Option<&UserLocation>) -> Result<(u64, u64)> {
    let pid = context.traced_pid();
    let Some(path) = files::binaries(path, pid)?.into_iter().next() else { bail!("there is no {path}") };
    let file = files::Mapped::open(&path)?;
    let elf = Elf::parse(&file).with_context(|| format!("{path} is no ELF file"))?;
    if elf.header.e_type == goblin::elf::header::ET_EXEC {
        return Ok((user_base::FIXED, 0));
    }
    let marked = elf.dynamic.as_ref().is_some_and(|d| d.info.flags_1 & DF_1_PIE != 0);
    if marked || elf.interpreter.is_some() && elf.soname.is_none() {
        // As the kernel computes start_code (load_elf_binary, fs/binfmt_elf.c).
        let code = elf.program_headers.iter().filter(|p| p.p_type == PT_LOAD && p.p_flags & PF_X != 0);
        return Ok((user_base::PROGRAM, code.map(|p| p.p_vaddr).min().unwrap_or(0)));
    }
    let place = match at {
        Some(UserLocation::Address(address)) => *address,
        Some(UserLocation::Symbol { name, offset, demangled }) => {
            let name = context.text(name)?;
            let mut found = BTreeMap::new();
            matching(&elf, &name, *demangled, &mut found);
            found.first_key_value().with_context(|| format!("{path} has no function {name}"))?.0 + offset
        }
        _ => bail!("uaddr() in the library {path} needs a uprobe of one function: it tells where the library lies"),
    };
    Ok((user_base::PROBE, place))
}

/// Link-time address and size of any symbol of a binary.
pub fn symbol_address(path: &str, symbol: &str, pid: Option<u32>) -> Result<(u64, u64)> {
    for path in files::binaries(path, pid)? {
        let file = files::Mapped::open(&path)?;
        let elf = Elf::parse(&file).with_context(|| format!("{path} is no ELF file"))?;
        if let Some(found) = address_in(&elf, symbol) {
            return Ok(found);
        }
    }
    bail!("{path} has no symbol {symbol}")
}

/// Link-time address and size of a symbol that a binary defines.
pub fn address_in(elf: &Elf<'_>, symbol: &str) -> Option<(u64, u64)> {
    [(&elf.syms, &elf.strtab), (&elf.dynsyms, &elf.dynstrtab)].into_iter().find_map(|(symbols, names)| {
        let s = symbols.iter().find(|s| s.st_shndx != 0 && names.get_at(s.st_name) == Some(symbol))?;
        Some((s.st_value, s.st_size))
    })
}

/// Attaches to one place.
pub fn attach(
    ret: bool,
    path: &str,
    (offset, semaphore): (u64, u64),
    pid: Option<u32>,
    program: BorrowedFd<'_>,
    cookie: u64,
) -> Result<Vec<OwnedFd>> {
    let name = CString::new(path).context("the path holds a NUL")?;
    let attr = PerfAttr {
        kind: pmu_type("uprobe")?,
        // Bit 0 and bits 32 to 63 (format/retprobe and format/ref_ctr_offset).
        config: u64::from(ret) | semaphore << 32,
        config1: name.as_ptr() as u64,
        config2: offset,
        flags: PERF_DISABLED,
        ..PerfAttr::default()
    };
    let (pid, cpu) = pid.map_or((-1, 0), |p| (p as i32, -1));
    let fd = sys::perf_event_open(attr, pid, cpu)
        .with_context(|| format!("the kernel refuses offset 0x{offset:x} of {path}"))?;
    Ok(sys::attach_perf(program, fd, cookie)?)
}

/// Attaches to some places of a unit, one link per file.
pub fn attach_multi(
    context: &Context<'_>,
    all: &[Place],
    program: BorrowedFd<'_>,
    cookies: bool,
) -> Result<Vec<OwnedFd>> {
    let mut files: BTreeMap<&str, Offsets> = BTreeMap::new();
    let mut at_return = false;
    for place in all {
        let How::Uprobe { ret, path, offset, semaphore, .. } = &place.how else { bail!("not a place in a binary") };
        at_return = *ret;
        let places = files.entry(path).or_default();
        places.offsets.push(*offset);
        places.semaphores.push(*semaphore);
        places.ids.push(place.id);
    }
    let mut links = Vec::new();
    for (path, places) in &files {
        let name = CString::new(*path).context("the path holds a NUL")?;
        let mut opts = sys::link_options();
        opts.__bindgen_anon_1.uprobe_multi = bpf::bpf_link_create_opts__bindgen_ty_1__bindgen_ty_3 {
            flags: if at_return { MULTI_RETURN } else { 0 },
            cnt: places.offsets.len() as u32,
            path: name.as_ptr(),
            offsets: places.offsets.as_ptr(),
            ref_ctr_offsets: places.semaphores.as_ptr(),
            cookies: if cookies { places.ids.as_ptr() } else { std::ptr::null() },
            pid: context.traced_pid().unwrap_or(0),
            ..Default::default()
        };
        let link = sys::link_create(program, -1, bpf::BPF_TRACE_UPROBE_MULTI, &opts)
            .with_context(|| format!("the kernel refuses the probes in {path}"))?;
        links.push(link);
    }
    Ok(links)
}
