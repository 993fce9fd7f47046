//! printf: a parsed format and the bytes of its arguments to text.

use super::Renderer;
use super::number::{Digits, push_i64, push_u64};
use super::text::{buffer, push_byte, push_escaped};
use crate::event::integer;
use crate::maps::{average, word};
use btc_payload::format::{Conversion, Format, Length, Piece, Spec};
use btc_payload::layout::ValueType;

impl Renderer<'_> {
    /// Appends a format with its arguments.
    pub fn printf<'b>(
        &mut self,
        out: &mut Vec<u8>,
        format: &Format,
        mut arguments: impl Iterator<Item = (&'b ValueType, &'b [u8])>,
    ) {
        for piece in &format.pieces {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text),
                Piece::Conversion(spec) => {
                    if let Some((ty, bytes)) = arguments.next() {
                        self.convert(out, spec, ty, bytes);
                    }
                }
            }
        }
    }

    fn convert(&mut self, out: &mut Vec<u8>, spec: &Spec, ty: &ValueType, bytes: &[u8]) {
        use Conversion::*;
        let start = out.len();
        match spec.conversion {
            Signed | Unsigned | Hex | HexUpper | Octal => return push_integer(out, spec, ty, bytes),
            Char => out.push(value(ty, bytes) as u8),
            Pointer => match value(ty, bytes) as u64 {
                0 => out.push(b'0'),
                address => super::text::push_pointer(out, address),
            },
            Text => {
                self.text(out, ty, bytes);
                if let Some(precision) = spec.precision {
                    out.truncate(out.len().min(start + precision as usize));
                }
            }
            Buffer => push_escaped(out, content(ty, bytes), false),
            BufferHex => push_escaped(out, content(ty, bytes), true),
            BufferBare => {
                for (i, &b) in content(ty, bytes).iter().enumerate() {
                    if i > 0 {
                        out.push(b' ');
                    }
                    push_byte(out, b);
                }
            }
            GfpFlags => out.extend_from_slice(super::names::gfp_flags(value(ty, bytes) as u64).as_bytes()),
        }
        widen(out, start, spec, if spec.zero { b'0' } else { b' ' });
    }
}

/// What the buffer conversions show of an argument.
fn content<'b>(ty: &ValueType, bytes: &'b [u8]) -> &'b [u8] {
    if matches!(ty, ValueType::Buf { .. }) { buffer(bytes) } else { bytes }
}

/// An argument as an integer.
fn value(ty: &ValueType, bytes: &[u8]) -> i64 {
    match ty {
        ValueType::Int { size, signed } | ValueType::Enum { size, signed, .. } => {
            integer(bytes, (*size).into(), *signed)
        }
        ValueType::Bool => integer(bytes, 1, false),
        ValueType::Avg { signed } => average(bytes, *signed) as i64,
        ValueType::ErrnoText | ValueType::SignalName => integer(bytes, 4, true),
        ValueType::Username => integer(bytes, 4, false),
        _ => word(bytes, 0) as i64,
    }
}

/// Appends one of the integer conversions. The length decides how much of the value
/// is shown, whatever its type, as in C: without one, an `int`.
fn push_integer(out: &mut Vec<u8>, spec: &Spec, ty: &ValueType, bytes: &[u8]) {
    let value = value(ty, bytes);
    let bits = match spec.length {
        Length::Char => 8,
        Length::Short => 16,
        Length::Long => 64,
        Length::Full => 32,
    };
    let shift = 64 - bits;
    let unsigned = (value as u64) << shift >> shift;
    let signed = value << shift >> shift;
    let plain = spec.width.is_none() && spec.precision.is_none() && !(spec.plus || spec.space || spec.alternate);
    match spec.conversion {
        Conversion::Signed if plain => return push_i64(out, signed),
        Conversion::Unsigned if plain => return push_u64(out, unsigned),
        _ => {}
    }
    let mut room = Digits::default();
    let (sign, digits) = sign_and_digits(&mut room, spec, signed, unsigned);
    let zeros = match spec.precision {
        Some(precision) => precision as usize,
        None if spec.zero && !spec.left => (spec.width.unwrap_or(0) as usize).saturating_sub(sign.len()),
        None => 0,
    };
    let start = out.len();
    out.extend_from_slice(sign);
    if zeros > digits.len() {
        out.extend(std::iter::repeat_n(b'0', zeros - digits.len()));
    }
    out.extend_from_slice(digits);
    widen(out, start, spec, b' ');
}

/// What stands before the digits, and the digits.
fn sign_and_digits<'r>(room: &'r mut Digits, spec: &Spec, signed: i64, unsigned: u64) -> (&'static [u8], &'r [u8]) {
    match spec.conversion {
        Conversion::Signed => {
            let sign: &[u8] = match (signed < 0, spec.plus, spec.space) {
                (true, ..) => b"-",
                (_, true, _) => b"+",
                (_, _, true) => b" ",
                _ => b"",
            };
            (sign, room.decimal(signed.unsigned_abs()))
        }
        Conversion::Octal => {
            let sign: &[u8] = if spec.alternate && unsigned != 0 { b"0" } else { b"" };
            (sign, room.bits(unsigned, 3, false))
        }
        Conversion::Hex | Conversion::HexUpper => {
            let upper = spec.conversion == Conversion::HexUpper;
            let sign: &[u8] = match (spec.alternate && unsigned != 0, upper) {
                (false, _) => b"",
                (true, true) => b"0X",
                (true, false) => b"0x",
            };
            (sign, room.bits(unsigned, 4, upper))
        }
        _ => (b"", room.decimal(unsigned)),
    }
}

/// Fills what was appended since `start` up to the width.
fn widen(out: &mut Vec<u8>, start: usize, spec: &Spec, fill: u8) {
    let missing = (spec.width.unwrap_or(0) as usize).saturating_sub(out.len() - start);
    if missing == 0 {
        return;
    }
    if spec.left {
        out.extend(std::iter::repeat_n(b' ', missing));
    } else {
        out.splice(start..start, std::iter::repeat_n(fill, missing));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::tests::renderer;
    use btc_payload::manifest::Manifest;

    fn show(format: &str, arguments: &[(ValueType, Vec<u8>)]) -> String {
        let manifest = Manifest::default();
        let mut out = Vec::new();
        let format = Format::parse(format.as_bytes()).unwrap().0;
        renderer(&manifest).printf(&mut out, &format, arguments.iter().map(|(t, b)| (t, b.as_slice())));
        String::from_utf8(out).unwrap()
    }

    fn int(v: i64) -> (ValueType, Vec<u8>) {
        (ValueType::Int { size: 8, signed: true }, v.to_le_bytes().to_vec())
    }

    fn narrow(v: i8) -> (ValueType, Vec<u8>) {
        (ValueType::Int { size: 1, signed: true }, v.to_le_bytes().to_vec())
    }

    fn text(s: &str) -> (ValueType, Vec<u8>) {
        let mut bytes = s.as_bytes().to_vec();
        bytes.push(0);
        bytes.resize(16, 0);
        (ValueType::Str { size: 16 }, bytes)
    }

    #[test]
    fn integers() {
        assert_eq!(show("%d %i %u", &[int(-5), int(1000), int(5)]), "-5 1000 5");
        assert_eq!(
            show("%x %X %o %#x %#o %#x", &[int(255), int(48879), int(64), int(255), int(8), int(0)]),
            "ff BEEF 100 0xff 010 0"
        );
        assert_eq!(
            show("[%6d] [%-6d] [%06d] [%+d] [% d]", &[int(42), int(42), int(-42), int(42), int(7)]),
            "[    42] [42    ] [-00042] [+42] [ 7]"
        );
        assert_eq!(show("%hhx %hx %lx", &[int(0x1ff), int(0x1ff), int(0x1ff)]), "ff 1ff 1ff");
        assert_eq!(show("[%.5d] [%5.2d]", &[int(42), int(7)]), "[00042] [   07]");
        assert_eq!(show("%u %lx %d", &[narrow(-1), narrow(-1), narrow(-1)]), "4294967295 ffffffffffffffff -1");
        assert_eq!(show("[%016lx] [%04x]", &[int(4096), int(255)]), "[0000000000001000] [00ff]");
        assert_eq!(show("%c%c|%5c|", &[int(65), int(66), int(67)]), "AB|    C|");
        assert_eq!(show("%p %p", &[int(0x1234), int(0)]), "0x1234 0");
    }

    #[test]
    fn strings() {
        assert_eq!(
            show("[%.3s] [%8.3s] [%-8s] [%8s]", &[text("abcdef"), text("abcdef"), text("ab"), text("ab")]),
            "[abc] [     abc] [ab      ] [      ab]"
        );
        assert_eq!(
            show("%s %5s %d", &[(ValueType::Bool, vec![1]), (ValueType::Bool, vec![0]), (ValueType::Bool, vec![1])]),
            "true false 1"
        );
        assert_eq!(show("5%% %s", &[]), "5% ");
    }

    #[test]
    fn buffers() {
        let buf = (ValueType::Buf { size: 4 }, vec![3, 0, 0, 0, b'A', b'b', 0, 9]);
        assert_eq!(
            show("[%r] [%rx] [%rh] [%8r]", &[buf.clone(), buf.clone(), buf.clone(), buf]),
            "[Ab\\x00] [\\x41\\x62\\x00] [41 62 00] [  Ab\\x00]"
        );
        assert_eq!(show("%gr", &[int(0xcc0)]), "GFP_KERNEL");
    }
}
