//! The ring buffer's consumer.
//!
//! In: the map's descriptor. Out: records, in order, each once. The layout is
//! that of kernel/bpf/ringbuf.c: a page with the consumer's position, a page
//! with the producer's, then the data, mapped twice in a row so that a record
//! never wraps.

use anyhow::{Context, Result, bail};
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

/// See the head of this file.
pub struct Ring {
    consumer: *mut u8,
    producer: *const u8,
    page: usize,
    size: usize,
}

impl Ring {
    /// Maps a ring of `size` bytes.
    pub fn new(fd: BorrowedFd<'_>, size: usize) -> Result<Ring> {
        // SAFETY: takes an integer.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        if !size.is_power_of_two() || size < page {
            bail!("the ring's size of {size} bytes is no power of two of pages");
        }
        let map = |len: usize, protection, offset: usize| {
            // SAFETY: a fresh shared mapping of the map's own memory.
            let at = unsafe {
                libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, fd.as_raw_fd(), offset as _)
            };
            if at == libc::MAP_FAILED {
                return Err(std::io::Error::last_os_error()).context("cannot map the ring buffer");
            }
            Ok(at.cast::<u8>())
        };
        let consumer = map(page, libc::PROT_READ | libc::PROT_WRITE, 0)?;
        let producer = map(page + 2 * size, libc::PROT_READ, page)?;
        Ok(Ring { consumer, producer, page, size })
    }

    fn consumer(&self) -> &AtomicUsize {
        // SAFETY: the first word of the consumer's page, mapped as long as `self` lives.
        unsafe { &*self.consumer.cast::<AtomicUsize>() }
    }

    /// Position up to which records were begun.
    pub fn end(&self) -> usize {
        // SAFETY: the first word of the producer's page, mapped as long as `self` lives.
        unsafe { &*self.producer.cast::<AtomicUsize>() }.load(Ordering::Acquire)
    }

    /// Hands over all records that are complete, until one makes `handle`
    /// return false. Returns how many there were.
    pub fn consume(&mut self, mut handle: impl FnMut(&[u8]) -> bool) -> usize {
        let mut at = self.consumer().load(Ordering::Relaxed);
        let (mut count, mut end, mut go_on) = (0, self.end(), true);
        while go_on && at != end {
            let offset = at & (self.size - 1);
            // SAFETY: offsets below `size` lie in the mapping, and records that
            // begin there end in its second half at the latest.
            let header = unsafe { self.producer.add(self.page + offset) };
            // SAFETY: headers are aligned to eight bytes.
            let len = unsafe { &*header.cast::<AtomicU32>() }.load(Ordering::Acquire);
            if len & BUSY != 0 {
                break;
            }
            let size = (len & !DISCARD) as usize;
            if len & DISCARD == 0 {
                // SAFETY: a complete record of `size` bytes; the kernel does not
                // touch it before the consumer's position has passed it.
                go_on = handle(unsafe { std::slice::from_raw_parts(header.add(HEADER), size.min(self.size)) });
                count += 1;
            }
            at += (size + HEADER).next_multiple_of(HEADER);
            if count % PUBLISH == PUBLISH - 1 {
                self.consumer().store(at, Ordering::Release);
            }
            if at == end {
                end = self.end();
            }
        }
        self.consumer().store(at, Ordering::Release);
        count
    }

    /// Position up to which records were taken.
    pub fn position(&self) -> usize {
        self.consumer().load(Ordering::Relaxed)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: unmaps exactly what `new` mapped.
        unsafe {
            libc::munmap(self.consumer.cast(), self.page);
            libc::munmap(self.producer.cast_mut().cast(), self.page + 2 * self.size);
        }
    }
}
