//! The ring buffer's consumer.
//!
//! In: the map's descriptor. Out: records, in order, each once. The layout is
//! that of kernel/bpf/ringbuf.c: a page with the consumer's position, a page
//! with the producer's, then the data, twice in a row so that a record never
//! wraps. The kernel populates a mapping of it at once, and all of it counts as
//! this process's memory; so the data is looked at through a window that moves.

use anyhow::{Context, Result, bail};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Set while a record is being written.
const BUSY: u32 = 1 << 31;
/// Set when a record was given up.
const DISCARD: u32 = 1 << 30;
/// Bytes before each record: length with flags, page offset.
const HEADER: usize = 8;
/// Records after which the position is published: each time costs a cache
/// miss on both sides.
const PUBLISH: usize = 1000;
/// Bytes of data that are mapped at a time: moving the window costs some ten
/// microseconds, shared by a few thousand records.
const WINDOW: usize = 256 * 1024;

/// A mapped part of the ring.
struct Mapping {
    at: *mut u8,
    len: usize,
}

impl Mapping {
    fn new(fd: i32, offset: usize, len: usize, protection: i32) -> io::Result<Mapping> {
        // SAFETY: a fresh shared mapping of the map's own memory.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, fd, offset as _) };
        if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Mapping { at: at.cast(), len }) }
    }

    fn first_word(&self) -> &AtomicUsize {
        // SAFETY: mappings are page-aligned, at least a page long, and live as long as `self`.
        unsafe { &*self.at.cast::<AtomicUsize>() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: unmaps exactly what `new` mapped.
        unsafe { libc::munmap(self.at.cast(), self.len) };
    }
}

/// See the head of this file.
pub struct Ring<'f> {
    fd: BorrowedFd<'f>,
    consumer: Mapping,
    producer: Mapping,
    window: Mapping,
    /// Offset in the ring of the window's first byte.
    start: usize,
    page: usize,
    size: usize,
}

impl<'f> Ring<'f> {
    /// Maps a ring of `size` bytes.
    pub fn new(fd: BorrowedFd<'f>, size: usize) -> Result<Ring<'f>> {
        // SAFETY: takes an integer.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        if !size.is_power_of_two() || size < page {
            bail!("the ring's size of {size} bytes is no power of two of pages");
        }
        let map = |offset, len, protection| {
            Mapping::new(fd.as_raw_fd(), offset, len, protection).context("cannot map the ring buffer")
        };
        Ok(Ring {
            fd,
            consumer: map(0, page, libc::PROT_READ | libc::PROT_WRITE)?,
            producer: map(page, page, libc::PROT_READ)?,
            window: map(2 * page, WINDOW.min(size), libc::PROT_READ)?,
            start: 0,
            page,
            size,
        })
    }

    /// Position up to which records were begun.
    pub fn end(&self) -> usize {
        self.producer.first_word().load(Ordering::Acquire)
    }

    /// Position up to which records were taken.
    pub fn position(&self) -> usize {
        self.consumer.first_word().load(Ordering::Relaxed)
    }

    /// Address of `len` bytes at an offset below `size`, after moving the
    /// window there if need be. `None`: there is no memory for it.
    fn bytes(&mut self, offset: usize, len: usize) -> Option<*const u8> {
        if offset < self.start || offset + len > self.start + self.window.len {
            let start = offset & !(self.page - 1);
            let wanted = WINDOW.max((offset + len - start).next_multiple_of(self.page));
            // The second copy of the data ends at twice the size.
            let wanted = wanted.min(2 * self.size - start);
            let moved = Mapping::new(self.fd.as_raw_fd(), 2 * self.page + start, wanted, libc::PROT_READ).ok()?;
            (self.window, self.start) = (moved, start);
        }
        Some(self.window.at.wrapping_add(offset - self.start))
    }

    /// Hands over all records that are complete, until one makes `handle`
    /// return false. Returns how many there were.
    pub fn consume(&mut self, mut handle: impl FnMut(&[u8]) -> bool) -> usize {
        let mut at = self.position();
        let (mut count, mut end, mut go_on) = (0, self.end(), true);
        while go_on && at != end {
            let offset = at & (self.size - 1);
            let Some(header) = self.bytes(offset, HEADER) else { break };
            // SAFETY: eight mapped bytes, aligned to eight as all records are.
            let len = unsafe { &*header.cast::<AtomicU32>() }.load(Ordering::Acquire);
            if len & BUSY != 0 {
                break;
            }
            let size = ((len & !DISCARD) as usize).min(self.size);
            if len & DISCARD == 0 {
                let Some(header) = self.bytes(offset, HEADER + size) else { break };
                // SAFETY: a complete record of `size` mapped bytes; the kernel
                // does not touch it before the consumer's position has passed it.
                go_on = handle(unsafe { std::slice::from_raw_parts(header.add(HEADER), size) });
                count += 1;
            }
            at += (size + HEADER).next_multiple_of(HEADER);
            if count % PUBLISH == PUBLISH - 1 {
                self.consumer.first_word().store(at, Ordering::Release);
            }
            if at == end {
                end = self.end();
            }
        }
        self.consumer.first_word().store(at, Ordering::Release);
        count
    }
}
