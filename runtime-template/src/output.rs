//! Where output goes: standard output or a file, through one buffer.
//!
//! In: bytes appended to the buffer. Out: writes at 64 KB, at line ends or at
//! once, as asked; always before the tracer waits. A reader that went away is
//! no error: the tracer ends.

use crate::options::Buffering;
use crate::sys;
use anyhow::{Context, Result};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Bytes that are gathered before a write.
const FULL: usize = 64 * 1024;

/// See the head of this file.
pub struct Output {
    file: Option<File>,
    path: Option<String>,
    mode: Buffering,
    /// What is not written yet.
    pub buffer: Vec<u8>,
    closed: bool,
    failed: bool,
}

impl Output {
    /// To a file, or to standard output.
    pub fn new(path: Option<&str>, mode: Option<Buffering>) -> Result<Output> {
        let file = path.map(open).transpose()?;
        Ok(Output {
            file,
            path: path.map(str::to_string),
            mode: mode.unwrap_or(Buffering::Full),
            buffer: Vec::with_capacity(FULL + 4096),
            closed: false,
            failed: false,
        })
    }

    /// To be called after each piece of output.
    pub fn piece(&mut self) {
        let due = match self.mode {
            Buffering::None => true,
            Buffering::Line => self.buffer.last() == Some(&b'\n') || self.buffer.len() >= FULL,
            Buffering::Full => self.buffer.len() >= FULL,
        };
        if due {
            self.flush();
        }
    }

    /// Writes everything.
    pub fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let fd = self.file.as_ref().map_or(libc::STDOUT_FILENO, AsRawFd::as_raw_fd);
        if !self.closed
            && let Err(e) = sys::write_all(fd, &self.buffer)
        {
            self.closed = true;
            self.failed = e.kind() != io::ErrorKind::BrokenPipe;
            if self.failed {
                eprintln!("ERROR: cannot write output; it is lost from here on: {e}");
            }
        }
        self.buffer.clear();
    }

    /// Has the reader gone away, or the disk filled up?
    pub fn closed(&self) -> bool {
        self.closed
    }

    /// Was output lost that somebody waits for?
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// Opens the file anew, after a log was rotated.
    pub fn reopen(&mut self) -> Result<()> {
        self.flush();
        if let Some(path) = &self.path {
            self.file = Some(File::options().append(true).create(true).open(path).with_context(|| cannot(path))?);
        }
        Ok(())
    }
}

/// Writes all that there is to standard output.
pub fn whole(text: &str) -> Result<()> {
    match sys::write_all(libc::STDOUT_FILENO, text.as_bytes()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e).context("cannot write output"),
        _ => Ok(()),
    }
}

fn open(path: &str) -> Result<File> {
    File::create(path).with_context(|| cannot(path))
}

fn cannot(path: &str) -> String {
    format!("cannot open output file {path}")
}
