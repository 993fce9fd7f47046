//! printf formats, parsed once by one definition.
//!
//! In: a format string. Out: literals and conversions; the compiler checks the
//! arguments against them, the runtime renders by them.

use serde::{Deserialize, Serialize};

/// A parsed format.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// In order.
    pub pieces: Vec<Piece>,
}

/// Part of a format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Piece {
    /// Bytes to print as they are.
    Literal(Vec<u8>),
    /// The next argument.
    Conversion(Spec),
}

/// How one argument is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// `-`: left-aligned.
    pub left: bool,
    /// `0`: filled with zeros.
    pub zero: bool,
    /// `+`: sign always.
    pub plus: bool,
    /// ` `: blank in place of a plus sign.
    pub space: bool,
    /// `#`: `0x`/`0` prefix.
    pub alternate: bool,
    /// `'`: grouped thousands (printed without grouping, as in the C locale).
    pub group: bool,
    /// Minimal width.
    pub width: Option<u32>,
    /// Digits or characters.
    pub precision: Option<u32>,
    /// Size the value is cut to first.
    pub length: Length,
    /// What to print.
    pub conversion: Conversion,
}

/// Length modifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Length {
    /// None: 32 bits, C's `int`.
    #[default]
    Full,
    /// `hh`: 8 bits.
    Char,
    /// `h`: 16 bits.
    Short,
    /// `l`, `ll`, `j`, `z`, `t`: 64 bits.
    Long,
}

/// Conversion character.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Conversion {
    /// `%d`, `%i`.
    #[default]
    Signed,
    /// `%u`.
    Unsigned,
    /// `%x`.
    Hex,
    /// `%X`.
    HexUpper,
    /// `%o`.
    Octal,
    /// `%c`.
    Char,
    /// `%p`.
    Pointer,
    /// `%s`: text, and whatever is shown as text.
    Text,
    /// `%r`: buffer, `\x` escapes for bytes that are no text.
    Buffer,
    /// `%rx`: every byte escaped.
    BufferHex,
    /// `%rh`: every byte in hex, separated by blanks.
    BufferBare,
    /// `%gr`: GFP flags by name.
    GfpFlags,
}

impl Conversion {
    /// As written after the `%`.
    pub fn letters(self) -> &'static str {
        use Conversion::*;
        match self {
            Signed => "d",
            Unsigned => "u",
            Hex => "x",
            HexUpper => "X",
            Octal => "o",
            Char => "c",
            Pointer => "p",
            Text => "s",
            Buffer => "r",
            BufferHex => "rx",
            BufferBare => "rh",
            GfpFlags => "gr",
        }
    }
}

/// What is wrong with a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// Offset in the format of the `%`.
    pub at: usize,
    /// What is wrong.
    pub message: String,
}

impl Format {
    /// Parses a format string. A percent sign that begins no conversion is printed as it
    /// stands; the offsets of such come with the format.
    pub fn parse(text: &[u8]) -> Result<(Format, Vec<usize>), FormatError> {
        let (mut pieces, mut literal, mut stray, mut i) = (Vec::new(), Vec::new(), Vec::new(), 0);
        while i < text.len() {
            let found = if text[i] == b'%' { Spec::parse(text, i)? } else { None };
            match found {
                Some((Some(spec), next)) => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    }
                    pieces.push(Piece::Conversion(spec));
                    i = next;
                }
                Some((None, next)) => {
                    literal.push(b'%');
                    i = next;
                }
                None => {
                    if text[i] == b'%' {
                        stray.push(i);
                    }
                    literal.push(text[i]);
                    i += 1;
                }
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok((Format { pieces }, stray))
    }

    /// The conversions in order.
    pub fn conversions(&self) -> impl Iterator<Item = &Spec> {
        self.pieces.iter().filter_map(|p| match p {
            Piece::Conversion(s) => Some(s),
            Piece::Literal(_) => None,
        })
    }
}

impl Spec {
    /// Parses the conversion whose `%` stands at `at`, `None` if it begins none. Returns
    /// the index behind it, without a conversion for `%%`.
    fn parse(text: &[u8], at: usize) -> Result<Option<(Option<Spec>, usize)>, FormatError> {
        let fail = |message: String| FormatError { at, message };
        let (mut s, mut i) = (Spec::default(), at + 1);
        while let Some(&b) = text.get(i) {
            match b {
                b'-' => s.left = true,
                b'0' => s.zero = true,
                b'+' => s.plus = true,
                b' ' => s.space = true,
                b'#' => s.alternate = true,
                b'\'' => s.group = true,
                _ => break,
            }
            i += 1;
        }
        (s.width, i) = number(text, i);
        if text.get(i) == Some(&b'.') {
            let (precision, next) = number(text, i + 1);
            s.precision = Some(precision.unwrap_or(0));
            i = next;
        }
        if text.get(i) == Some(&b'*') {
            return Err(fail("`*` as a width or precision is not supported; write the number".into()));
        }
        (s.length, i) = length(text, i);
        let rest = &text[i.min(text.len())..];
        let (conversion, used) = match rest {
            [b'd' | b'i', ..] => (Conversion::Signed, 1),
            [b'u', ..] => (Conversion::Unsigned, 1),
            [b'x', ..] => (Conversion::Hex, 1),
            [b'X', ..] => (Conversion::HexUpper, 1),
            [b'o', ..] => (Conversion::Octal, 1),
            [b'c', ..] => (Conversion::Char, 1),
            [b'p', ..] => (Conversion::Pointer, 1),
            [b's', ..] => (Conversion::Text, 1),
            [b'r', b'x', ..] => (Conversion::BufferHex, 2),
            [b'r', b'h', ..] => (Conversion::BufferBare, 2),
            [b'r', ..] => (Conversion::Buffer, 1),
            [b'g', b'r', ..] => (Conversion::GfpFlags, 2),
            [b'%', ..] => return Ok(Some((None, i + 1))),
            [b @ (b'e' | b'E' | b'f' | b'F' | b'g' | b'G' | b'a' | b'A' | b'n'), ..] => {
                let message = format!("`%{}` is not supported; known are d i u x X o c p s r rx rh gr", char::from(*b));
                return Err(fail(message));
            }
            _ => return Ok(None),
        };
        s.conversion = conversion;
        Ok(Some((Some(s), i + used)))
    }
}

/// Reads decimal digits; the index behind them.
fn number(text: &[u8], mut i: usize) -> (Option<u32>, usize) {
    let mut n: Option<u32> = None;
    while let Some(d) = text.get(i).filter(|b| b.is_ascii_digit()) {
        n = Some(n.unwrap_or(0).saturating_mul(10).saturating_add(u32::from(d - b'0')).min(65_536));
        i += 1;
    }
    (n, i)
}

/// Reads a length modifier; the index behind it.
fn length(text: &[u8], i: usize) -> (Length, usize) {
    match text.get(i..).unwrap_or(&[]) {
        [b'h', b'h', ..] => (Length::Char, i + 2),
        [b'h', ..] => (Length::Short, i + 1),
        [b'l', b'l', ..] => (Length::Long, i + 2),
        [b'l' | b'j' | b'z' | b't', ..] => (Length::Long, i + 1),
        _ => (Length::Full, i),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_in_order() {
        let (f, stray) = Format::parse(b"a%%b %-8s|%#05llx|%.3d %rx").unwrap();
        assert!(stray.is_empty());
        let specs: Vec<_> = f.conversions().map(|s| (s.conversion, s.width, s.precision, s.length)).collect();
        assert_eq!(
            specs,
            [
                (Conversion::Text, Some(8), None, Length::Full),
                (Conversion::Hex, Some(5), None, Length::Long),
                (Conversion::Signed, None, Some(3), Length::Full),
                (Conversion::BufferHex, None, None, Length::Full),
            ]
        );
        assert_eq!(f.pieces[0], Piece::Literal(b"a%b ".to_vec()));
    }

    #[test]
    fn a_percent_sign_without_conversion_is_text() {
        let (f, stray) = Format::parse(b"100%, %5%|%y % ").unwrap();
        assert_eq!(f.pieces, [Piece::Literal(b"100%, %|%y % ".to_vec())]);
        assert_eq!(stray, [3, 10, 13]);
    }

    #[test]
    fn errors_point_at_the_percent() {
        assert_eq!(Format::parse(b"ab%f").unwrap_err().at, 2);
        assert_eq!(Format::parse(b"ab%-5n").unwrap_err().at, 2);
        assert!(Format::parse(b"%*d").is_err());
    }
}
