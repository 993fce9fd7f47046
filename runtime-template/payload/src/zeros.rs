//! Bytes with their zeros packed.
//!
//! In: a BPF object (compiler), or what `pack` made of it (runtime). Out: the other
//! one. Most of an object is zeros: unused operands of instructions, and a block as
//! long as the longest text, by which programs clear memory. A real compressor
//! would save a tenth more, and cost the tracer's executable more than that.
//!
//! The form: a count of bytes, those bytes, a count of zeros, and so on; a count is
//! one byte.

/// Zeros in a row from which on they are packed; fewer cost more than they take.
const WORTH: usize = 3;

/// Packs.
pub fn pack(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let rest = &bytes[at..];
        let most = rest.len().min(usize::from(u8::MAX));
        let plain = (0..most).find(|&i| zeros(&rest[i..]) >= WORTH.min(rest.len() - i)).unwrap_or(most);
        let zeros = zeros(&rest[plain..]).min(usize::from(u8::MAX));
        out.push(plain as u8);
        out.extend_from_slice(&rest[..plain]);
        out.push(zeros as u8);
        at += plain + zeros;
    }
    out
}

/// Zeros at the beginning, as far as a count reaches.
fn zeros(bytes: &[u8]) -> usize {
    bytes.iter().take(usize::from(u8::MAX)).take_while(|b| **b == 0).count()
}

/// Unpacks; `None` when the form is broken.
pub fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut rest) = (Vec::new(), packed);
    while let Some((&plain, after)) = rest.split_first() {
        let (bytes, after) = after.split_at_checked(usize::from(plain))?;
        let (&zeros, after) = after.split_first()?;
        out.extend_from_slice(bytes);
        out.resize(out.len() + usize::from(zeros), 0);
        rest = after;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacks_what_it_packed() {
        let long: Vec<u8> = (0..2000).map(|i| if i % 7 < 3 || i > 1000 { 0 } else { i as u8 }).collect();
        for bytes in [&b""[..], b"\0", b"\0\0\0\0", b"a\0b\0\0c", b"abc\0\0\0\0", &[1; 700], &[0; 700], &long] {
            assert_eq!(unpack(&pack(bytes)).as_deref(), Some(bytes));
        }
        assert!(pack(&[0; 16384]).len() < 200);
    }

    #[test]
    fn broken_forms_are_refused() {
        assert_eq!(unpack(&[3, 1, 2]), None);
        assert_eq!(unpack(&[1, 1]), None);
    }
}
