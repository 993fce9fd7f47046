//! The payload as bytes: a fixed header, the manifest, the BPF object and the
//! script's source.
//!
//! In: the three parts (compiler) or one byte slice (runtime). Out: one byte
//! slice, or the parts of it. Everything is little-endian; the object's zeros are
//! packed. A payload that was cut, damaged or written by another version is
//! refused with the reason, before anything of it is used.

use crate::binary::{FNV_START, fnv};
use crate::manifest::Manifest;
use crate::zeros;
use std::fmt;

/// First bytes of every payload.
pub const MAGIC: [u8; 8] = *b"btcpayld";

/// Raised whenever anything in this crate changes its meaning or its encoding.
pub const VERSION: u32 = 3;

/// Size of the fixed header in bytes.
pub const HEADER_SIZE: usize = 48;

/// What is wrong with a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Shorter than its header, or than the length that its header states.
    Truncated,
    /// Does not begin with [`MAGIC`].
    NotAPayload,
    /// Written by another version of the contract.
    Version(u32),
    /// The checksum does not fit the content.
    Checksum,
    /// The manifest cannot be decoded.
    Manifest(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Truncated => write!(f, "the payload is cut short"),
            Error::NotAPayload => write!(f, "this is no btc payload"),
            Error::Version(v) => write!(f, "payload version {v}, but this runtime reads version {VERSION}"),
            Error::Checksum => write!(f, "the payload is damaged (checksum mismatch)"),
            Error::Manifest(why) => write!(f, "the manifest cannot be read: {why}"),
        }
    }
}

impl std::error::Error for Error {}

/// A decoded payload; the source is borrowed from the bytes.
#[derive(Debug)]
pub struct Payload<'a> {
    /// What ELF cannot say.
    pub manifest: Manifest,
    /// The BPF ELF object.
    pub object: Vec<u8>,
    /// The script as it was compiled.
    pub source: &'a [u8],
}

/// Of the header before its checksum and of what follows it.
fn checksum(head: &[u8], body: &[u8]) -> u64 {
    fnv(fnv(FNV_START, head), body)
}

/// Assembles a payload.
pub fn write(manifest: &Manifest, object: &[u8], source: &[u8]) -> Result<Vec<u8>, Error> {
    let encoded = postcard::to_allocvec(manifest).map_err(|e| Error::Manifest(e.to_string()))?;
    let mut body = encoded;
    let manifest_len = body.len();
    let object_at = HEADER_SIZE + body.len();
    body.extend_from_slice(&zeros::pack(object));
    let source_at = HEADER_SIZE + body.len();
    body.extend_from_slice(source);

    let mut out = Vec::with_capacity(HEADER_SIZE + body.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(manifest_len as u32).to_le_bytes());
    out.extend_from_slice(&(object_at as u64).to_le_bytes());
    out.extend_from_slice(&(source_at as u64).to_le_bytes());
    out.extend_from_slice(&((HEADER_SIZE + body.len()) as u64).to_le_bytes());
    out.extend_from_slice(&checksum(&out, &body).to_le_bytes());
    debug_assert_eq!(out.len(), HEADER_SIZE);
    out.extend_from_slice(&body);
    Ok(out)
}

/// Reads a payload; bytes behind its stated end are ignored.
pub fn read(bytes: &[u8]) -> Result<Payload<'_>, Error> {
    let head = bytes.get(..HEADER_SIZE).ok_or(Error::Truncated)?;
    if head[..8] != MAGIC {
        return Err(Error::NotAPayload);
    }
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    if word(8) != VERSION {
        return Err(Error::Version(word(8)));
    }
    let index = |at: usize| usize::try_from(long(at)).map_err(|_| Error::Truncated);
    let (manifest_len, object_at, source_at, end) = (word(12) as usize, index(16)?, index(24)?, index(32)?);
    let body = bytes.get(HEADER_SIZE..end).ok_or(Error::Truncated)?;
    if checksum(&head[..40], body) != long(40) {
        return Err(Error::Checksum);
    }
    let manifest = body.get(..manifest_len).ok_or(Error::Truncated)?;
    Ok(Payload {
        manifest: postcard::from_bytes(manifest).map_err(|e| Error::Manifest(e.to_string()))?,
        object: bytes.get(object_at..source_at).and_then(zeros::unpack).ok_or(Error::Truncated)?,
        source: bytes.get(source_at..end).ok_or(Error::Truncated)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let bytes = write(&Manifest::default(), b"object", b"source").unwrap();
        let back = read(&bytes).unwrap();
        assert_eq!((&back.object[..], back.source), (&b"object"[..], &b"source"[..]));
        assert_eq!(back.manifest, Manifest::default());
    }

    #[test]
    fn damage_is_refused() {
        let good = write(&Manifest::default(), b"object", b"source").unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert!(read(&bad).is_err(), "byte {at} changed unnoticed");
            assert!(read(&good[..at]).is_err(), "cut at {at} unnoticed");
        }
    }
}
