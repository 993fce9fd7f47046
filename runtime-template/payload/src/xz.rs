//! Unpacks xz data, for the symbol tables that some distributions pack into
//! `.gnu_debugdata` of their binaries.
//!
//! In: a .xz file's bytes. Out: what was packed, or nothing if it is damaged.

use std::io::Read;

/// What is unpacked at most: damaged data may go on for ever.
const MOST: u64 = 1 << 28;

/// Unpacks a file.
pub fn unpack(file: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    xz2::read::XzDecoder::new(file).take(MOST).read_to_end(&mut out).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_xz_packs() {
        let data: Vec<u8> = (0..100_000u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        let mut packed = xz2::write::XzEncoder::new(Vec::new(), 6);
        packed.write_all(&data).unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(unpack(&packed), Some(data));
        assert_eq!(unpack(&packed[..packed.len() / 2]), None);
        assert_eq!(unpack(b"no xz"), None);
    }
}
