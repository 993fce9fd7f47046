//! Loads and runs BPF programs with nothing but the `bpf` system call.
//!
//! Knows no type of the compiler (programs are bytes), so that integration
//! tests use the same file. Attribute layouts are those of `union bpf_attr` in
//! `include/uapi/linux/bpf.h`, which only ever grows at its end.

#![allow(dead_code, reason = "each user needs a part")]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const MAP_CREATE: libc::c_long = 0;
const PROG_LOAD: libc::c_long = 5;
const PROG_TEST_RUN: libc::c_long = 10;

/// `BPF_PROG_TYPE_SYSCALL`: arithmetic on a writable context, run on demand.
/// Since kernel 5.14.
pub const SYSCALL: u32 = 31;
/// `BPF_PROG_TYPE_TRACEPOINT`.
pub const TRACEPOINT: u32 = 5;
/// `BPF_PROG_TYPE_KPROBE`.
pub const KPROBE: u32 = 2;
const SLEEPABLE: u32 = 1 << 4;
/// `BPF_MAP_TYPE_HASH`.
pub const HASH: u32 = 1;

/// `union bpf_attr` under construction.
struct Attr([u8; 128]);

impl Attr {
    fn new() -> Attr {
        Attr([0; 128])
    }

    fn u32(mut self, at: usize, value: u32) -> Attr {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn u64(mut self, at: usize, value: u64) -> Attr {
        self.0[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn ptr<T>(self, at: usize, pointer: *const T) -> Attr {
        self.u64(at, pointer as u64)
    }

    fn call(mut self, command: libc::c_long) -> Result<libc::c_long, std::io::Error> {
        let attr = self.0.as_mut_ptr();
        // SAFETY: `attr` is valid for 128 bytes, and every pointer stored in it
        // refers to memory that the caller keeps alive over the call.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr, self.0.len()) };
        match result {
            ..0 => Err(std::io::Error::last_os_error()),
            _ => Ok(result),
        }
    }
}

fn descriptor(number: libc::c_long) -> OwnedFd {
    // SAFETY: the kernel just returned this descriptor to us.
    unsafe { OwnedFd::from_raw_fd(number as libc::c_int) }
}

/// Loads a program; the error is the verifier's log.
pub fn load(program_type: u32, code: &[u8], verbose: bool) -> Result<OwnedFd, String> {
    let mut log = vec![0_u8; 1 << 20];
    let flags = if program_type == SYSCALL { SLEEPABLE } else { 0 };
    let attempt = |log_level: u32, log: &mut Vec<u8>| {
        let attr = Attr::new()
            .u32(0, program_type)
            .u32(4, (code.len() / 8) as u32)
            .ptr(8, code.as_ptr())
            .ptr(16, c"GPL".as_ptr())
            .u32(44, flags);
        let attr = match log_level {
            0 => attr,
            level => attr.u32(24, level).u32(28, log.len() as u32).ptr(32, log.as_mut_ptr()),
        };
        attr.call(PROG_LOAD)
    };
    let quiet = if verbose { attempt(1, &mut log) } else { attempt(0, &mut log) };
    match quiet.or_else(|_| attempt(1, &mut log)) {
        Ok(number) => Ok(descriptor(number)),
        Err(error) => {
            let end = log.iter().position(|&byte| byte == 0).unwrap_or(0);
            Err(format!("{error}\n{}", String::from_utf8_lossy(&log[..end])))
        }
    }
}

/// Creates a map.
pub fn create_map(kind: u32, key: u32, value: u32, entries: u32) -> Result<OwnedFd, String> {
    let attr = Attr::new().u32(0, kind).u32(4, key).u32(8, value).u32(12, entries);
    let number = attr.call(MAP_CREATE).map_err(|error| error.to_string())?;
    Ok(descriptor(number))
}

/// Why BPF programs cannot be loaded here, if so.
pub fn unavailable(program_type: u32) -> Option<String> {
    // r0 = 0; exit
    let nothing = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    load(program_type, &nothing, false).err()
}

/// A loaded program of type `SYSCALL`.
pub struct Runnable(OwnedFd);

impl Runnable {
    pub fn load(code: &[u8]) -> Result<Runnable, String> {
        load(SYSCALL, code, false).map(Runnable)
    }

    /// Runs it once over `ctx`; gives what it returned.
    pub fn run(&self, ctx: &mut [u8]) -> Result<u32, String> {
        let mut attr =
            Attr::new().u32(0, self.0.as_raw_fd() as u32).u32(40, ctx.len() as u32).ptr(48, ctx.as_mut_ptr());
        let attr_ptr = attr.0.as_mut_ptr();
        // SAFETY: as in `Attr::call`; the result is written into `attr`.
        let result = unsafe { libc::syscall(libc::SYS_bpf, PROG_TEST_RUN, attr_ptr, attr.0.len()) };
        if result < 0 {
            return Err(std::io::Error::last_os_error().to_string());
        }
        Ok(u32::from_ne_bytes([attr.0[4], attr.0[5], attr.0[6], attr.0[7]]))
    }
}
