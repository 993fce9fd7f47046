//! Integers to digits, appended to a buffer: half the price of `core::fmt` on
//! the event path.

/// Appends decimal digits.
pub fn push_u64(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a signed number.
pub fn push_i64(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_u64(out, value.unsigned_abs());
}

/// Appends digits of a base that is a power of two: 3 bits are octal, 4 hex.
pub fn push_bits(out: &mut Vec<u8>, mut value: u64, bits: u32, upper: bool) {
    let letters: &[u8; 16] = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    let mut digits = [0u8; 22];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = letters[(value & ((1 << bits) - 1)) as usize];
        value >>= bits;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends lower-case hex digits.
pub fn push_hex(out: &mut Vec<u8>, value: u64) {
    push_bits(out, value, 4, false);
}

/// Appends a decimal number with leading zeros.
pub fn push_padded(out: &mut Vec<u8>, value: u64, width: usize) {
    let start = out.len();
    push_u64(out, value);
    let missing = width.saturating_sub(out.len() - start);
    out.splice(start..start, std::iter::repeat_n(b'0', missing));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(f: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        f(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn digits() {
        for v in [0, 1, 9, 10, 12345, u64::MAX] {
            assert_eq!(show(|o| push_u64(o, v)), v.to_string());
            assert_eq!(show(|o| push_i64(o, v as i64)), (v as i64).to_string());
            assert_eq!(show(|o| push_hex(o, v)), format!("{v:x}"));
            assert_eq!(show(|o| push_bits(o, v, 3, false)), format!("{v:o}"));
        }
        assert_eq!(show(|o| push_bits(o, 0xbeef, 4, true)), "BEEF");
        assert_eq!(show(|o| push_i64(o, i64::MIN)), i64::MIN.to_string());
        assert_eq!(show(|o| push_padded(o, 42, 6)), "000042");
    }
}
