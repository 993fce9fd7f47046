//! Text to C tokens.
//!
//! In: the text of a header, of a directive or of a macro argument, and an
//! offset. Out: one token at a time, with the offset behind it.
//! Invariants: every call moves on or reports the end; a line is never looked
//! at twice, whatever is in it; lines joined by a backslash are one line.

use std::rc::Rc;

use super::token::{Interner, Kind, Sym, Token, punct};
use crate::span::{FileId, Span};

/// A position in a text.
#[derive(Clone, Debug)]
pub(super) struct Lexer {
    /// The whole text.
    pub(super) text: Rc<str>,
    /// Offset of the next byte.
    pub(super) pos: usize,
    /// File of the spans.
    pub(super) file: FileId,
    /// Nothing but blanks stands between here and the start of the line.
    pub(super) at_line_start: bool,
}

/// Operators, longest first.
const PUNCTUATORS: &[&str] = &[
    "...", "<<=", ">>=", "->", "++", "--", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "*=", "/=", "%=", "+=",
    "-=", "&=", "^=", "|=", "##", "[", "]", "(", ")", "{", "}", ".", "&", "*", "+", "-", "~", "!", "/", "%", "<", ">",
    "^", "|", "?", ":", ";", "=", ",", "#",
];

pub(super) fn is_name_start(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_' || b >= 0x80
}

pub(super) fn is_name(b: u8) -> bool {
    is_name_start(b) || b.is_ascii_digit()
}

/// Length of a backslash with the line end behind it, if `at` is one.
pub(super) fn splice(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at..)? {
        [b'\\', b'\n', ..] => Some(2),
        [b'\\', b'\r', b'\n', ..] => Some(3),
        _ => None,
    }
}

impl Lexer {
    /// Starts at the top of a text.
    pub(super) fn new(text: Rc<str>, file: FileId) -> Lexer {
        Lexer { text, pos: 0, file, at_line_start: true }
    }

    fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The byte at the position; steps over joined lines.
    fn current(&mut self) -> Option<u8> {
        while let Some(n) = splice(self.text.as_bytes(), self.pos) {
            self.pos += n;
        }
        self.text.as_bytes().get(self.pos).copied()
    }

    fn span(&self, start: usize) -> Span {
        Span::new(self.file, start as u32, self.pos as u32)
    }

    /// Skips blanks and comments; stops before a line end if `in_line`.
    /// Says whether anything was skipped.
    fn blanks(&mut self, in_line: bool) -> bool {
        let start = self.pos;
        while let Some(b) = self.current() {
            match b {
                b'\n' if in_line => break,
                b'\n' => {
                    self.at_line_start = true;
                    self.pos += 1;
                }
                b' ' | b'\t' | b'\r' | 0x0b | 0x0c => self.pos += 1,
                b'/' if self.bytes().get(self.pos + 1) == Some(&b'*') => self.block_comment(),
                b'/' if self.bytes().get(self.pos + 1) == Some(&b'/') => self.skip_line(),
                _ => break,
            }
        }
        self.pos > start
    }

    fn block_comment(&mut self) {
        let rest = &self.text.as_bytes()[self.pos + 2..];
        let end = rest.windows(2).position(|w| w == b"*/");
        self.pos = end.map_or(self.text.len(), |n| self.pos + 2 + n + 2);
    }

    /// Moves to the end of the line, joined lines included.
    pub(super) fn skip_line(&mut self) {
        while let Some(b) = self.current() {
            if b == b'\n' {
                break;
            }
            self.pos += 1;
        }
    }

    /// Moves to the end of a directive's line. Comments that begin in it belong
    /// to it, to their end.
    pub(super) fn finish_line(&mut self) {
        loop {
            self.blanks(true);
            match self.current() {
                None | Some(b'\n') => return,
                Some(q @ (b'"' | b'\'')) => {
                    self.quoted(q);
                }
                Some(_) => self.pos += 1,
            }
        }
    }

    /// The rest of the line as it stands, trimmed, and where it is.
    pub(super) fn rest_of_line(&mut self) -> (String, Span) {
        self.blanks(true);
        let start = self.pos;
        self.finish_line();
        let text = self.text.get(start..self.pos).unwrap_or("").trim().to_string();
        (text, self.span(start))
    }

    /// The next token of the text.
    pub(super) fn token(&mut self, interner: &mut Interner) -> Token {
        let space = self.blanks(false);
        self.lex(space, interner)
    }

    /// The next token of the line; at its end, `End`.
    pub(super) fn token_in_line(&mut self, interner: &mut Interner) -> Token {
        let space = self.blanks(true);
        if self.current() == Some(b'\n') {
            return Token::end(self.span(self.pos));
        }
        self.lex(space, interner)
    }

    /// `<name>` of an include: everything up to `>`, if the line has one.
    pub(super) fn angled(&mut self) -> Option<String> {
        self.blanks(true);
        let rest = self.text.get(self.pos..)?.strip_prefix('<')?;
        let line = rest.split('\n').next().unwrap_or("");
        let end = line.find('>')?;
        self.pos += end + 2;
        Some(line[..end].trim().to_string())
    }

    fn lex(&mut self, space: bool, interner: &mut Interner) -> Token {
        let first = std::mem::take(&mut self.at_line_start);
        let Some(b) = self.current() else {
            return Token { first, ..Token::end(self.span(self.pos)) };
        };
        let start = self.pos;
        let next = self.bytes().get(start + 1).copied().unwrap_or(0);
        let kind = match b {
            _ if is_name_start(b) => self.name(),
            _ if b.is_ascii_digit() || b == b'.' && next.is_ascii_digit() => self.number(),
            b'"' | b'\'' => self.quoted(b),
            _ => return self.operator(space, first, interner),
        };
        let text = self.clean(start, interner);
        Token { space, first, ..Token::new(kind, text, self.span(start)) }
    }

    /// The text from `start` to here without joined line ends.
    fn clean(&self, start: usize, interner: &mut Interner) -> Sym {
        let text = self.text.get(start..self.pos).unwrap_or("");
        if text.contains("\\\n") || text.contains("\\\r\n") {
            return interner.intern(&text.replace("\\\r\n", "").replace("\\\n", ""));
        }
        interner.intern(text)
    }

    fn name(&mut self) -> Kind {
        let start = self.pos;
        while self.current().is_some_and(is_name) {
            self.pos += 1;
        }
        let prefix = matches!(&self.bytes()[start..self.pos], b"L" | b"u" | b"U" | b"u8");
        match self.current() {
            Some(q @ (b'"' | b'\'')) if prefix => self.quoted(q),
            _ => Kind::Ident,
        }
    }

    /// A preprocessing number: digits, letters, dots, and signs after e and p.
    fn number(&mut self) -> Kind {
        let mut last = 0;
        while let Some(b) = self.current() {
            let sign = matches!(b, b'+' | b'-') && matches!(last, b'e' | b'E' | b'p' | b'P');
            if !is_name(b) && b != b'.' && !sign {
                break;
            }
            last = b;
            self.pos += 1;
        }
        Kind::Number
    }

    /// A string or character constant. One that its line does not end is
    /// `Other` and takes the rest of the line.
    fn quoted(&mut self, quote: u8) -> Kind {
        self.pos += 1;
        while let Some(b) = self.current() {
            match b {
                b'\n' => return Kind::Other,
                b'\\' => {
                    self.pos += 1;
                    if self.current().is_some_and(|b| b != b'\n') {
                        self.pos += 1;
                    }
                }
                _ => {
                    self.pos += 1;
                    if b == quote {
                        return if quote == b'"' { Kind::Str } else { Kind::Char };
                    }
                }
            }
        }
        Kind::Other
    }

    fn operator(&mut self, space: bool, first: bool, interner: &mut Interner) -> Token {
        let start = self.pos;
        let rest = &self.bytes()[start..];
        let found = PUNCTUATORS.iter().find(|p| rest.starts_with(p.as_bytes()));
        let (kind, text, len) = match found {
            Some(p) => (Kind::Punct, punct(p), p.len()),
            None => {
                let c = self.text.get(start..).and_then(|t| t.chars().next());
                let len = c.map_or(1, char::len_utf8);
                (Kind::Other, interner.intern(self.text.get(start..start + len).unwrap_or("")), len)
            }
        };
        self.pos += len;
        Token { space, first, ..Token::new(kind, text, self.span(start)) }
    }
}

/// All tokens of a short text that is not a file of its own; they stand at `span`.
pub(super) fn tokens(text: &str, span: Span, interner: &mut Interner) -> Vec<Token> {
    let mut lexer = Lexer::new(text.into(), span.file);
    let mut out = Vec::new();
    loop {
        let token = lexer.token(interner);
        if token.is_end() {
            return out;
        }
        out.push(Token { span, first: false, ..token });
    }
}

/// The value of a character constant (with its quotes), and how many
/// characters it has; `None` if there is none or an escape is bad.
pub(super) fn char_value(text: &str) -> Option<i64> {
    let body = text.trim_start_matches(['L', 'u', 'U', '8']);
    let body = body.strip_prefix('\'')?.strip_suffix('\'')?;
    let mut chars = body.chars().peekable();
    let mut value: Option<i64> = None;
    while let Some(c) = chars.next() {
        let code = if c == '\\' { escape(&mut chars)? } else { c as i64 };
        value = Some(match value {
            None if code < 0x100 => i64::from(code as u8 as i8), // plain char is signed
            None => code,
            Some(before) => i64::from(((before << 8) | (code & 0xff)) as i32),
        });
    }
    value
}

fn escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<i64> {
    let c = chars.next()?;
    let simple = match c {
        'n' => 10,
        't' => 9,
        'r' => 13,
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'v' => 11,
        'e' => 27,
        '\\' | '\'' | '"' | '?' => c as i64,
        'x' => return Some(digits(chars, 16, usize::MAX, 0)),
        '0'..='7' => return Some(digits(chars, 8, 2, i64::from(c.to_digit(8)?))),
        _ => return None,
    };
    Some(simple)
}

fn digits(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, radix: u32, most: usize, start: i64) -> i64 {
    let mut value = start;
    for _ in 0..most.min(16) {
        let Some(d) = chars.peek().and_then(|c| c.to_digit(radix)) else { break };
        value = value.wrapping_mul(i64::from(radix)).wrapping_add(i64::from(d));
        chars.next();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        let mut interner = Interner::default();
        let span = Span::default();
        tokens(text, span, &mut interner).iter().map(|t| interner.text(t.text).to_string()).collect()
    }

    #[test]
    fn splits_like_a_c_preprocessor() {
        assert_eq!(texts("a+++b"), ["a", "++", "+", "b"]);
        assert_eq!(texts("0x1p-3 1.e+4 .5 10ms"), ["0x1p-3", "1.e+4", ".5", "10ms"]);
        assert_eq!(texts("x/*c*/y // z\nw"), ["x", "y", "w"]);
        assert_eq!(texts("L'a' u8\"b\" \"\\\"\""), ["L'a'", "u8\"b\"", "\"\\\"\""]);
        assert_eq!(texts("ab\\\ncd <<= \\\r\n..."), ["abcd", "<<=", "..."]);
        assert_eq!(texts("$x @y ä"), ["$", "x", "@", "y", "ä"]);
    }

    #[test]
    fn an_unterminated_string_ends_with_its_line() {
        assert_eq!(texts("don't \"\nx"), ["don", "'t \"", "x"]);
        assert_eq!(texts("\"\\"), ["\"\\"]);
        assert_eq!(texts("/* open"), Vec::<String>::new());
    }

    #[test]
    fn character_constants_have_values() {
        for (text, value) in
            [("'a'", 97), ("'\\n'", 10), ("'\\0'", 0), ("'\\377'", -1), ("'\\x41'", 65), ("'ab'", 24930), ("L'x'", 120)]
        {
            assert_eq!(char_value(text), Some(value), "{text}");
        }
        assert_eq!(char_value("''"), None);
        assert_eq!(char_value("'\\q'"), None);
    }
}
