//! Constant expressions, of `#if` and of declarations alike.
//!
//! In: tokens and operands from a [`Operands`]. Out: a value with C's width and
//! sign.
//! Invariants: recursion is bounded; what has no constant value is carried along
//! as `Operand::Unknown` until something needs it, because the side of `&&`,
//! `||` and `?:` that is not taken may be anything.

use std::rc::Rc;

use super::token::{Kind, Sym, Token};
use crate::ctypes::CTypeId;
use crate::diagnostic::Diagnostic;

/// Depth of parentheses and conditionals in one expression.
pub(super) const DEEPEST: usize = 60;

/// What parsing gives: the message ends the declaration or the condition.
pub(super) type Parsed<T> = Result<T, Box<Diagnostic>>;

/// An integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// Its mathematical value.
    pub(super) value: i128,
    /// 32 or 64: narrower types are promoted.
    pub(super) width: u32,
    pub(super) signed: bool,
}

impl Value {
    /// The value that fits the type after wrapping around.
    pub(super) fn wrapped(value: i128, width: u32, signed: bool) -> Value {
        let bits = value & ((1_i128 << width) - 1);
        let negative = signed && bits >> (width - 1) != 0;
        Value { value: if negative { bits - (1_i128 << width) } else { bits }, width, signed }
    }

    /// An `int`, or `long` if it does not fit.
    pub(super) fn int(value: i128) -> Value {
        let width = if i32::try_from(value).is_ok() { 32 } else { 64 };
        Value { value, width, signed: i64::try_from(value).is_ok() }
    }

    /// A `size_t`.
    pub(super) fn size(value: u64) -> Value {
        Value { value: i128::from(value), width: 64, signed: false }
    }
}

/// A part of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    /// A number.
    Int(Value),
    /// An object of known type; its address, if that is a number.
    Place { ty: CTypeId, address: Option<i128> },
    /// A pointer.
    Pointer { to: CTypeId, address: Option<i128> },
    /// No constant, and why.
    Unknown(Rc<str>),
}

impl Operand {
    pub(super) fn unknown(why: impl Into<Rc<str>>) -> Operand {
        Operand::Unknown(why.into())
    }

    /// The number, or why there is none.
    pub(super) fn number(&self) -> Result<Value, Rc<str>> {
        match self {
            Operand::Int(value) => Ok(*value),
            Operand::Pointer { address: Some(a), .. } => Ok(Value { value: *a, width: 64, signed: false }),
            Operand::Unknown(why) => Err(why.clone()),
            _ => Err("this is no constant".into()),
        }
    }
}

/// Who supplies tokens and operands.
pub(super) trait Operands {
    /// The next token, which stays.
    fn peek(&mut self) -> Token;
    /// Takes the next token.
    fn bump(&mut self) -> Token;
    /// Text of a symbol.
    fn text(&self, sym: Sym) -> Rc<str>;
    /// An operand with everything that binds tighter than `+ - ~ !`.
    fn operand(&mut self, depth: usize) -> Parsed<Operand>;
    /// Width of plain numbers: `#if` counts in the widest type.
    fn least_width(&self) -> u32;
}

/// Binary operators with their precedence.
const BINARY: &[(&str, u8)] = &[
    ("||", 1),
    ("&&", 2),
    ("|", 3),
    ("^", 4),
    ("&", 5),
    ("==", 6),
    ("!=", 6),
    ("<", 7),
    (">", 7),
    ("<=", 7),
    (">=", 7),
    ("<<", 8),
    (">>", 8),
    ("+", 9),
    ("-", 9),
    ("*", 10),
    ("/", 10),
    ("%", 10),
];

/// An error at a token.
pub(super) fn fail<T>(message: impl Into<String>, token: &Token, label: impl Into<String>) -> Parsed<T> {
    Err(Box::new(Diagnostic::error("E0520", message).at(token.span, label)))
}

/// A whole expression, without commas and assignments.
pub(super) fn expression(host: &mut dyn Operands, depth: usize) -> Parsed<Operand> {
    if depth > DEEPEST {
        let token = host.peek();
        return fail("the expression is nested too deeply", &token, "more than 60 levels");
    }
    let condition = binary(host, 1, depth)?;
    if !host.peek().is("?") {
        return Ok(condition);
    }
    host.bump();
    // GNU C: `a ?: b` is `a ? a : b`.
    let yes = if host.peek().is(":") { condition.clone() } else { expression(host, depth + 1)? };
    let colon = host.bump();
    if !colon.is(":") {
        return fail("expected `:` in a conditional expression", &colon, "expected `:`");
    }
    let no = expression(host, depth + 1)?;
    Ok(match condition.number() {
        Ok(c) => choose(c.value != 0, yes, no),
        Err(why) => Operand::Unknown(why),
    })
}

/// The side taken, in the common type of both.
fn choose(first: bool, yes: Operand, no: Operand) -> Operand {
    let (taken, other) = if first { (yes, no) } else { (no, yes) };
    match (&taken, &other) {
        (Operand::Int(a), Operand::Int(b)) => {
            let (width, signed) = common(*a, *b);
            Operand::Int(Value::wrapped(a.value, width, signed))
        }
        _ => taken,
    }
}

fn binary(host: &mut dyn Operands, least: u8, depth: usize) -> Parsed<Operand> {
    let mut left = unary(host, depth)?;
    loop {
        let token = host.peek();
        let row = BINARY.iter().find(|(text, _)| token.is(text));
        let Some(&(operator, precedence)) = row.filter(|row| row.1 >= least) else { return Ok(left) };
        host.bump();
        let right = binary(host, precedence + 1, depth)?;
        left = combine(operator, left, right);
    }
}

/// Signs before an operand; they are collected first, so that a long row of
/// them needs no stack.
pub(super) fn unary(host: &mut dyn Operands, depth: usize) -> Parsed<Operand> {
    let mut signs = Vec::new();
    loop {
        let token = host.peek();
        let Some(sign) = ["+", "-", "~", "!"].iter().find(|s| token.is(s)) else { break };
        signs.push(*sign);
        host.bump();
    }
    let mut operand = host.operand(depth)?;
    for sign in signs.iter().rev() {
        operand = match operand.number() {
            Err(why) => Operand::Unknown(why),
            Ok(v) => Operand::Int(match *sign {
                "-" => Value::wrapped(-v.value, v.width, v.signed),
                "~" => Value::wrapped(!v.value, v.width, v.signed),
                "!" => Value::wrapped(i128::from(v.value == 0), host.least_width(), true),
                _ => v,
            }),
        };
    }
    Ok(operand)
}

/// The usual arithmetic conversions.
fn common(a: Value, b: Value) -> (u32, bool) {
    let width = a.width.max(b.width);
    let unsigned = |v: Value| !v.signed && v.width == width;
    (width, !unsigned(a) && !unsigned(b))
}

fn combine(operator: &str, left: Operand, right: Operand) -> Operand {
    let truth = |o: &Operand| o.number().map(|v| v.value != 0);
    let bool_value = |b: bool| Operand::Int(Value::int(i128::from(b)));
    match (operator, truth(&left)) {
        ("&&", Ok(false)) => return bool_value(false),
        ("||", Ok(true)) => return bool_value(true),
        _ => {}
    }
    let (a, b) = match (left.number(), right.number()) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(why), _) | (_, Err(why)) => return Operand::Unknown(why),
    };
    let (width, signed) = common(a, b);
    let fit = |v: i128| Value::wrapped(v, width, signed);
    let (x, y) = (fit(a.value).value, fit(b.value).value);
    let number = match operator {
        "&&" | "||" => return bool_value(b.value != 0),
        "==" => return bool_value(x == y),
        "!=" => return bool_value(x != y),
        "<" => return bool_value(x < y),
        ">" => return bool_value(x > y),
        "<=" => return bool_value(x <= y),
        ">=" => return bool_value(x >= y),
        "/" | "%" if y == 0 => return Operand::unknown("division by zero"),
        "<<" | ">>" => return shift(operator, a, b),
        "/" => x / y,
        "%" => x % y,
        "+" => x + y,
        "-" => x - y,
        "*" => x.wrapping_mul(y), // below 2^128: both fit 64 bits
        "&" => x & y,
        "|" => x | y,
        _ => x ^ y,
    };
    Operand::Int(fit(number))
}

/// Shifts have the type of their left side.
fn shift(operator: &str, a: Value, b: Value) -> Operand {
    let Some(count) = u32::try_from(b.value).ok().filter(|&n| n < a.width) else {
        return Operand::unknown("the shift is out of range");
    };
    let value = if operator == "<<" { a.value << count } else { a.value >> count };
    Operand::Int(Value::wrapped(value, a.width, a.signed))
}

/// The value of a number as C reads it; `None` if it is no integer.
pub(super) fn integer(text: &str, least_width: u32) -> Option<Value> {
    let lower = text.to_ascii_lowercase().replace('\'', "");
    let (radix, rest) = if let Some(hex) = lower.strip_prefix("0x") {
        (16, hex)
    } else if let Some(binary) = lower.strip_prefix("0b") {
        (2, binary)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    let end = rest.find(|c: char| !c.is_digit(radix)).unwrap_or(rest.len());
    let (digits, suffix) = rest.split_at(end);
    let unsigned = suffix.contains('u');
    let longs = match suffix {
        "" | "u" => 0,
        "l" | "ul" | "lu" | "ll" | "ull" | "llu" => 1,
        _ => return None,
    };
    let value = match digits {
        "" if radix == 8 => 0, // `0u`
        _ => i128::from(u64::from_str_radix(digits, radix).ok()?),
    };
    let width = if longs > 0 { 64 } else { least_width };
    // The first type that holds it; only non-decimal numbers may turn unsigned,
    // but nothing else holds a decimal above the largest long either.
    let fits = |width: u32, signed: bool| value < 1_i128 << (width - u32::from(signed));
    let choices = [(32, true), (32, false), (64, true), (64, false)];
    let allowed = |&(w, signed): &(u32, bool)| w >= width && signed != unsigned || w >= width && !signed && radix != 10;
    let chosen = choices.iter().filter(|c| allowed(c)).find(|&&(w, s)| fits(w, s));
    let &(width, signed) = chosen.unwrap_or(&(64, false));
    Some(Value { value, width, signed })
}

/// The value of a number or character constant, or why it has none.
pub(super) fn literal(token: &Token, text: &str, least_width: u32) -> Option<Operand> {
    match token.kind {
        Kind::Number => Some(match integer(text, least_width) {
            Some(value) => Operand::Int(value),
            None => Operand::unknown(format!("`{text}` is no integer")),
        }),
        Kind::Char => Some(match super::lex::char_value(text) {
            Some(value) => Operand::Int(Value { width: least_width, ..Value::int(i128::from(value)) }),
            None => Operand::unknown(format!("{text} is no character")),
        }),
        Kind::Str => Some(Operand::unknown("a string is no number")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Span;
    use crate::syntax::c::lex;
    use crate::syntax::c::token::Interner;

    struct Plain {
        interner: Interner,
        tokens: Vec<Token>,
        next: usize,
        width: u32,
    }

    impl Operands for Plain {
        fn peek(&mut self) -> Token {
            self.tokens.get(self.next).copied().unwrap_or(Token::end(Span::default()))
        }
        fn bump(&mut self) -> Token {
            self.next += 1;
            self.tokens.get(self.next - 1).copied().unwrap_or(Token::end(Span::default()))
        }
        fn text(&self, sym: Sym) -> Rc<str> {
            self.interner.text(sym)
        }
        fn operand(&mut self, depth: usize) -> Parsed<Operand> {
            let token = self.bump();
            if token.is("(") {
                let inner = expression(self, depth + 1)?;
                self.bump();
                return Ok(inner);
            }
            let text = self.text(token.text);
            literal(&token, &text, self.width).map_or_else(|| fail("no operand", &token, ""), Ok)
        }
        fn least_width(&self) -> u32 {
            self.width
        }
    }

    fn eval(text: &str, width: u32) -> Result<i128, String> {
        let mut interner = Interner::default();
        let tokens = lex::tokens(text, Span::default(), &mut interner);
        let mut plain = Plain { interner, tokens, next: 0, width };
        let operand = expression(&mut plain, 0).map_err(|d| d.message)?;
        operand.number().map(|v| v.value).map_err(|e| e.to_string())
    }

    #[test]
    fn computes_like_c() {
        for (text, value) in [
            ("1 + 2 * 3", 7),
            ("(1 + 2) * 3", 9),
            ("10 - 2 - 3", 5),
            ("~0U", 0xffff_ffff),
            ("~0", -1),
            ("-1 > 0U", 1),
            ("-1 > 0", 0),
            ("-1L < 0U", 1),
            ("1 << 31", -0x8000_0000),
            ("1UL << 63", 1 << 63),
            ("0x80000000", 0x8000_0000),
            ("2147483648", 0x8000_0000),
            ("0 && 1 / 0", 0),
            ("1 || 1 / 0", 1),
            ("1 ? 2 : 1 / 0", 2),
            ("0 ?: 5", 5),
            ("1 ? 0 ? 1 : 2 : 3", 2),
            ("!-!~5", 1),
            ("'a' == 97", 1),
            ("7 % 4 ^ 1 | 8 & 12", 10),
            ("017 + 0b11 + 0xF", 33),
            ("1 ? -1 : 0U", 0xffff_ffff),
            ("-7 / 2", -3),
            ("0", 0),
            ("0u", 0),
        ] {
            assert_eq!(eval(text, 32), Ok(value), "{text}");
        }
        assert_eq!(eval("~0U", 64), Ok(0xffff_ffff_ffff_ffff));
        assert_eq!(eval("1 << 31", 64), Ok(1 << 31));
    }

    #[test]
    fn what_has_no_value_says_why() {
        assert_eq!(eval("1 / 0", 32), Err("division by zero".into()));
        assert_eq!(eval("1.5 + 1", 32), Err("`1.5` is no integer".into()));
        assert_eq!(eval("1 << 64", 32), Err("the shift is out of range".into()));
        assert_eq!(eval("1 ? 2", 32), Err("expected `:` in a conditional expression".into()));
        assert!(eval(&"(".repeat(10_000), 32).is_err());
        assert!(eval(&"-".repeat(100_000), 32).is_err());
        assert!(eval(&"1?".repeat(10_000), 32).is_err());
    }
}
