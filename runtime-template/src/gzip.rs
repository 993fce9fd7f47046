//! The three functions of zlib by which libbpf reads the kernel's configuration, from
//! `/boot/config-RELEASE` or `/proc/config.gz`, for `__kconfig` variables of C files.
//!
//! In: the path of a file, compressed or not. Out: its lines, one after the other. The
//! inflater is the one that reads debug information.

use flate2::{Decompress, FlushDecompress};
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::ptr::null_mut;

/// Most bytes of a configuration; Debian's has 300 KB.
const LARGEST: usize = 16 << 20;

/// A file and how far it was read.
struct Lines {
    text: Vec<u8>,
    at: usize,
}

/// The text of a file; of a gzip file (RFC 1952) that of its one member.
fn inflated(file: Vec<u8>) -> Option<Vec<u8>> {
    let [0x1f, 0x8b, 8, flags, _, _, _, _, _, _, body @ ..] = file.as_slice() else { return Some(file) };
    // The kernel compresses without a name and the like (kernel/Makefile: `gzip -n`).
    let size = u32::from_le_bytes(*body.last_chunk()?) as usize;
    if *flags != 0 || size > LARGEST {
        return None;
    }
    let mut text = Vec::with_capacity(size);
    Decompress::new(false).decompress_vec(body, &mut text, FlushDecompress::Finish).ok()?;
    (text.len() == size).then_some(text)
}

impl Lines {
    /// As much of the next line as has room, its end included.
    fn next(&mut self, room: usize) -> Option<&[u8]> {
        let rest = &self.text[self.at..];
        let line = rest.iter().position(|&b| b == b'\n').map_or(rest.len(), |end| end + 1).min(room);
        self.at += line;
        (line > 0).then(|| &rest[..line])
    }
}

/// # Safety
/// `path` ends in NUL.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn gzopen64(path: *const c_char, _mode: *const c_char) -> *mut c_void {
    // SAFETY: as promised.
    let path = OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes());
    match std::fs::read(path).ok().and_then(inflated) {
        Some(text) => Box::into_raw(Box::new(Lines { text, at: 0 })).cast(),
        None => null_mut(),
    }
}

/// # Safety
/// `file` is of `gzopen64`, `buffer` has `size` bytes.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn gzgets(file: *mut c_void, buffer: *mut c_char, size: c_int) -> *mut c_char {
    // SAFETY: as promised.
    let lines = unsafe { &mut *file.cast::<Lines>() };
    match lines.next((size as usize).saturating_sub(1)) {
        Some(line) => {
            // SAFETY: the line has less than `size` bytes.
            unsafe {
                buffer.copy_from_nonoverlapping(line.as_ptr().cast(), line.len());
                *buffer.add(line.len()) = 0;
            }
            buffer
        }
        None => null_mut(),
    }
}

/// # Safety
/// `file` is of `gzopen64` and used no more.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn gzclose(file: *mut c_void) -> c_int {
    // SAFETY: as promised.
    drop(unsafe { Box::from_raw(file.cast::<Lines>()) });
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_plain_and_compressed_files() {
        let plain = b"CONFIG_A=y\n# B\nCONFIG_LAST=3";
        // One stored block, a checksum that nobody looks at, the size.
        let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 28, 0, !28, 0xff];
        file.extend(plain);
        file.extend([0, 0, 0, 0, 28, 0, 0, 0]);
        for file in [plain.to_vec(), file.clone()] {
            let mut lines = Lines { text: inflated(file).unwrap(), at: 0 };
            assert_eq!(lines.next(100), Some(&b"CONFIG_A=y\n"[..]));
            assert_eq!(lines.next(3), Some(&b"# B"[..]));
            assert_eq!(lines.next(3), Some(&b"\n"[..]));
            assert_eq!(lines.next(100), Some(&b"CONFIG_LAST=3"[..]));
            assert_eq!(lines.next(100), None);
        }
        assert_eq!(inflated(file[..30].to_vec()), None);
    }

    #[test]
    fn lines_as_c_reads_them() {
        let mut buffer = [1 as c_char; 8];
        // SAFETY: the path ends in NUL, the buffer has the stated size.
        unsafe {
            assert!(gzopen64(c"/proc/nothing".as_ptr(), c"r".as_ptr()).is_null());
            let file = gzopen64(c"/proc/self/comm".as_ptr(), c"r".as_ptr());
            assert!(!gzgets(file, buffer.as_mut_ptr(), 3).is_null());
            assert_eq!(CStr::from_ptr(buffer.as_ptr()).count_bytes(), 2);
            while !gzgets(file, buffer.as_mut_ptr(), 8).is_null() {}
            assert_eq!(gzclose(file), 0);
        }
    }
}
