//! Times of day by `strftime` formats.

use super::text::push_fraction;
use std::ffi::CString;

/// Appends a moment (nanoseconds since 1970) in local time. Beyond what the C
/// library knows, `%f` is microseconds.
pub fn format(out: &mut Vec<u8>, format: &str, at: i64) {
    let (seconds, nanoseconds) = (at.div_euclid(1_000_000_000), at.rem_euclid(1_000_000_000) as u64);
    let mut prepared = Vec::with_capacity(format.len() + 8);
    let mut bytes = format.bytes().peekable();
    while let Some(b) = bytes.next() {
        match (b, bytes.peek()) {
            (b'%', Some(b'f')) => {
                bytes.next();
                push_fraction(&mut prepared, nanoseconds, 6);
            }
            // Both bytes at once, so that `%%f` stays a percent sign and an f.
            (b'%', Some(&next)) => {
                bytes.next();
                prepared.extend_from_slice(&[b'%', next]);
            }
            _ => prepared.push(b),
        }
    }
    if prepared.is_empty() {
        return;
    }
    let Ok(prepared) = CString::new(prepared) else { return };
    // SAFETY: an all-zero `tm` is valid; it is then filled in.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid. The time zone comes from /etc/localtime
    // or TZ, which glibc reads by itself, without modules.
    unsafe { libc::localtime_r(&seconds, &mut parts) };
    let mut buffer = vec![0u8; 256 + prepared.as_bytes().len() * 8];
    // SAFETY: the buffer has the stated size; the format is NUL-terminated.
    let n = unsafe { libc::strftime(buffer.as_mut_ptr().cast(), buffer.len(), prepared.as_ptr(), &parts) };
    out.extend_from_slice(&buffer[..n]);
}

/// Appends the time of day of now.
pub fn now(out: &mut Vec<u8>, text: &str) {
    format(out, text, crate::sys::clock_ns(libc::CLOCK_REALTIME) as i64);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str, at: i64) -> String {
        let mut out = Vec::new();
        format(&mut out, text, at);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn formats() {
        // Seconds and below are the same in every time zone.
        assert_eq!(show("%S.%f", 1_700_000_001_000_042_000), "21.000042");
        assert_eq!(show("%%f", 0), "%f");
        assert_eq!(show("", 0), "");
        assert!(show("%Y", 1_700_000_000_000_000_000).starts_with("2023"));
    }
}
