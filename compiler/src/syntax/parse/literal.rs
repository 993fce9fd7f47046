//! Numbers, strings, characters and positional parameters.
//!
//! In: one token. Out: its value, or a message and a harmless value.

use super::{Builder, Pair, message};
use crate::span::Span;
use crate::syntax::ast::ExprKind;

/// Suffixes of integers: as in C, which change nothing but the sign, and those
/// of durations, which make nanoseconds.
#[rustfmt::skip]
const SUFFIXES: [(&str, u64, bool); 15] = [
    ("", 1, false),
    ("u", 1, true), ("ul", 1, true), ("lu", 1, true), ("ull", 1, true), ("llu", 1, true),
    ("l", 1, false), ("ll", 1, false),
    ("ns", 1, false),
    ("us", 1_000, false),
    ("ms", 1_000_000, false),
    ("s", 1_000_000_000, false),
    ("m", 60_000_000_000, false),
    ("h", 3_600_000_000_000, false),
    ("d", 86_400_000_000_000, false),
];

/// What is wrong with a number.
#[derive(Debug, PartialEq)]
pub(super) enum NumberFault {
    Overflow,
    Float,
    NegativeExponent,
    BadDigit(u32),
    BadSuffix(String),
}

/// Value of an integer literal, and whether a suffix makes it unsigned.
pub(super) fn integer(text: &str) -> Result<(u64, bool), NumberFault> {
    if text.contains('.') {
        return Err(NumberFault::Float);
    }
    if text.ends_with('_') {
        return Err(NumberFault::BadSuffix("_".into()));
    }
    let digits: String = text.chars().filter(|c| *c != '_').collect();
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', b'0'..=b'9', ..] => (8, &digits[1..]),
        _ => (10, digits.as_str()),
    };
    let end = digits.find(|c: char| !c.is_digit(radix.max(10))).unwrap_or(digits.len());
    let (number, rest) = digits.split_at(end);
    if number.is_empty() {
        return Err(NumberFault::BadSuffix(rest.to_string()));
    }
    if number.chars().any(|c| !c.is_digit(radix)) {
        return Err(NumberFault::BadDigit(radix));
    }
    let mut value = u64::from_str_radix(number, radix).map_err(|_| NumberFault::Overflow)?;
    let mut suffix = rest;
    if let Some(exponent) = rest.strip_prefix(['e', 'E']).filter(|_| radix == 10) {
        if exponent.starts_with('-') {
            return Err(NumberFault::NegativeExponent);
        }
        let end = exponent.find(|c: char| !c.is_ascii_digit()).unwrap_or(exponent.len());
        let (power, rest) = exponent.split_at(end);
        if power.is_empty() {
            return Err(NumberFault::BadSuffix(format!("e{rest}")));
        }
        value = scaled(value, power).ok_or(NumberFault::Overflow)?;
        suffix = rest;
    }
    let lower = suffix.to_ascii_lowercase();
    let Some((_, factor, unsigned)) =
        SUFFIXES.iter().find(|(s, factor, _)| *s == lower && (*factor == 1 || *s == suffix))
    else {
        return Err(NumberFault::BadSuffix(suffix.to_string()));
    };
    let value = value.checked_mul(*factor).ok_or(NumberFault::Overflow)?;
    Ok((value, *unsigned))
}

/// `value` times ten to the power, unless that needs more than 64 bits.
fn scaled(value: u64, power: &str) -> Option<u64> {
    if value == 0 {
        return Some(0);
    }
    value.checked_mul(10u64.checked_pow(power.parse().ok()?)?)
}

/// A byte, or the bytes of a character that is none, and what is left of the text.
type Unescaped<'t> = (Vec<u8>, &'t str);

/// Takes one character or escape sequence off the front; the error is the
/// length of the bad sequence and what is wrong.
fn unescape(text: &str) -> Result<Unescaped<'_>, (usize, &'static str)> {
    let Some(rest) = text.strip_prefix('\\') else {
        let len = text.chars().next().map_or(0, char::len_utf8);
        return Ok((text.as_bytes()[..len].to_vec(), &text[len..]));
    };
    let first = rest.chars().next().unwrap_or(' ');
    let simple = match first {
        'n' => b'\n',
        't' => b'\t',
        'r' => b'\r',
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'v' => 11,
        'e' => 27,
        '\\' | '"' | '\'' => first as u8,
        'x' | 'X' => {
            let len = rest[1..].bytes().take(2).take_while(u8::is_ascii_hexdigit).count();
            return match u8::from_str_radix(&rest[1..1 + len], 16) {
                Ok(byte) => Ok((vec![byte], &rest[1 + len..])),
                Err(_) => Err((2, "`\\x` needs one or two hexadecimal digits")),
            };
        }
        '0'..='7' => {
            let len = rest.bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
            return match u8::from_str_radix(&rest[..len], 8) {
                Ok(byte) => Ok((vec![byte], &rest[len..])),
                Err(_) => Err((len + 1, "an octal escape is at most `\\377`")),
            };
        }
        other => return Err((1 + other.len_utf8(), "unknown escape sequence")),
    };
    Ok((vec![simple], &rest[1..]))
}

impl Builder<'_> {
    pub(super) fn number(&mut self, text: &str, span: Span) -> ExprKind {
        match integer(text) {
            Ok((value, unsigned)) => ExprKind::Integer { value, unsigned },
            Err(fault) => {
                self.found.push(message::number(text, &fault, span));
                ExprKind::Integer { value: 0, unsigned: false }
            }
        }
    }

    /// Bytes of a string literal, escapes applied.
    pub(super) fn string(&mut self, pair: &Pair<'_>) -> Vec<u8> {
        let text = pair.as_str();
        let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or("");
        self.unescaped(inner, pair.as_span().start() + 1)
    }

    fn unescaped(&mut self, inner: &str, offset: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(inner.len());
        let mut rest = inner;
        while !rest.is_empty() {
            match unescape(rest) {
                Ok((bytes, left)) => {
                    out.extend(bytes);
                    rest = left;
                }
                Err((len, what)) => {
                    let at = offset + inner.len() - rest.len();
                    let span = self.place.span(at..at + len);
                    self.found.push(message::escape(what, &rest[..len.min(rest.len())], span));
                    rest = rest.get(len..).unwrap_or("");
                }
            }
        }
        out
    }

    pub(super) fn character(&mut self, pair: &Pair<'_>) -> ExprKind {
        let text = pair.as_str();
        let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or("");
        let before = self.found.len();
        let bytes = self.unescaped(inner, pair.as_span().start() + 1);
        if bytes.len() != 1 && self.found.len() == before {
            let span = self.span(pair);
            self.found.push(message::character(text, span));
        }
        ExprKind::Char(bytes.first().copied().unwrap_or(0))
    }

    pub(super) fn positional(&mut self, text: &str, span: Span) -> ExprKind {
        ExprKind::Positional(self.parameter_number(text, span))
    }

    /// `$N` with its dollar sign.
    pub(super) fn parameter_number(&mut self, text: &str, span: Span) -> u32 {
        match text[1..].parse() {
            Ok(n @ 1..=u32::MAX) => n,
            _ => {
                self.found.push(message::positional(text, span));
                1
            }
        }
    }
}
