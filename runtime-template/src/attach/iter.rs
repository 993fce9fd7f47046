//! BPF iterators: run once over the kernel's objects, or pinned as a file.

use super::{Found, How};
use crate::context::Context;
use crate::sys;
use anyhow::{Context as _, Result, bail};
use btc_payload::probe::Text;
use libbpf_rs::libbpf_sys as bpf;
use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Where relative pin paths lie.
const BPFFS: &str = "/sys/fs/bpf/";

/// Checks that the kernel has the iterator.
pub fn expand(context: &Context<'_>, written: &str, kind: &str, pin: Option<&Text>) -> Result<Vec<Found>> {
    if context.btf()?.function_id(&format!("bpf_iter_{kind}")).is_none() {
        return Ok(Vec::new());
    }
    let pin = pin.map(|p| context.text(p)).transpose()?;
    let pin = pin.map(|p| if p.starts_with('/') { p } else { format!("{BPFFS}{p}") });
    Ok(vec![Found { probe: written.into(), function: kind.into(), how: How::Iter { kind: kind.into(), pin } }])
}

/// Creates the iterator, and pins it where that is wanted.
pub fn attach(program: BorrowedFd<'_>, pin: Option<&str>) -> Result<Vec<OwnedFd>> {
    let link = sys::link_create(program, 0, bpf::BPF_TRACE_ITER, &sys::link_options())
        .context("the kernel refuses the iterator")?;
    if let Some(path) = pin {
        let name = CString::new(path).context("the path holds a NUL")?;
        // SAFETY: the path is NUL-terminated.
        let r = unsafe { bpf::bpf_obj_pin(link.as_raw_fd(), name.as_ptr()) };
        if r < 0 {
            bail!("cannot pin the iterator to {path}: {}", std::io::Error::from_raw_os_error(-r));
        }
        // On standard output, where scripts around bpftrace look for it.
        let _ = sys::write_all(libc::STDOUT_FILENO, format!("Program pinned to {path}\n").as_bytes());
        return Ok(vec![link]);
    }
    Ok(vec![link])
}

/// An iteration over a link.
pub fn open(link: BorrowedFd<'_>) -> Result<OwnedFd> {
    // SAFETY: takes and returns descriptors.
    let fd = unsafe { bpf::bpf_iter_create(link.as_raw_fd()) };
    if fd < 0 {
        bail!("cannot run the iterator: {}", std::io::Error::from_raw_os_error(-fd));
    }
    // SAFETY: the kernel just returned this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Runs an iteration to its end; the program writes to the ring, not here.
pub fn read_all(iteration: OwnedFd) {
    let mut file = std::fs::File::from(iteration);
    let mut sink = [0u8; 4096];
    // Long iterations are interrupted with EAGAIN after a million objects.
    loop {
        match file.read(&mut sink) {
            Ok(0) => break,
            Ok(_) => {}
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => {}
            Err(_) => break,
        }
    }
}
