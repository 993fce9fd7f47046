//! Integers to digits, appended to a buffer: half the price of `core::fmt` on
//! the event path.

/// Room for the digits of a number, on the stack: nothing is allocated for them,
/// and they are not moved about.
#[derive(Default)]
pub struct Digits([u8; 24]);

/// All numbers of two digits.
const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
                            2021222324252627282930313233343536373839\
                            4041424344454647484950515253545556575859\
                            6061626364656667686970717273747576777879\
                            8081828384858687888990919293949596979899";

impl Digits {
    /// Decimal digits, at least one.
    pub fn decimal(&mut self, mut value: u64) -> &[u8] {
        let mut at = self.0.len();
        while value >= 100 {
            let pair = (value % 100) as usize * 2;
            value /= 100;
            at -= 2;
            (self.0[at], self.0[at + 1]) = (PAIRS[pair], PAIRS[pair + 1]);
        }
        let pair = value as usize * 2;
        at -= 1;
        self.0[at] = PAIRS[pair + 1];
        if value >= 10 {
            at -= 1;
            self.0[at] = PAIRS[pair];
        }
        &self.0[at..]
    }

    /// Digits of a base that is a power of two, at least one: 3 bits are octal, 4 hex.
    pub fn bits(&mut self, mut value: u64, bits: u32, upper: bool) -> &[u8] {
        let letters: &[u8; 16] = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
        let mut at = self.0.len();
        loop {
            at -= 1;
            self.0[at] = letters[(value & ((1 << bits) - 1)) as usize];
            value >>= bits;
            if value == 0 {
                return &self.0[at..];
            }
        }
    }
}

/// Appends decimal digits.
pub fn push_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(Digits::default().decimal(value));
}

/// Appends a signed number.
pub fn push_i64(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_u64(out, value.unsigned_abs());
}

/// Appends digits of a base that is a power of two.
pub fn push_bits(out: &mut Vec<u8>, value: u64, bits: u32, upper: bool) {
    out.extend_from_slice(Digits::default().bits(value, bits, upper));
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
