//! Rust names: the older scheme, which looks like C++, and the newer one (RFC 2603).
//!
//! In: what `cpp` makes of an older symbol, or a newer one behind its `_R`. Out: the
//! path, without the hashes that tell crates and instances apart.

use std::fmt::Write as _;

/// Nesting from which on a symbol is taken for nonsense.
const DEEP: u32 = 96;
/// Longest result: references back can double a name again and again.
const LONG: usize = 1 << 14;

/// The older scheme ends with a hash of 16 digits and writes `..` for `::`.
pub fn legacy(name: &str) -> Option<String> {
    let (path, hash) = name.rsplit_once("::")?;
    let digits = hash.strip_prefix('h')?;
    if digits.len() != 16 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let parts: Vec<String> = path.split("::").map(legacy_part).collect();
    Some(parts.join("::"))
}

fn legacy_part(part: &str) -> String {
    // A name must not begin with `$`, so `_` stands before it.
    let mut rest = if part.starts_with("_$") { &part[1..] } else { part };
    let mut out = String::new();
    while let Some(c) = rest.chars().next() {
        let code = rest.strip_prefix('$').and_then(|r| r.split_once('$'));
        if let Some(tail) = rest.strip_prefix("..") {
            out += "::";
            rest = tail;
        } else if let Some((text, tail)) = code.and_then(|(code, tail)| Some((legacy_escape(code)?, tail))) {
            out += &text;
            rest = tail;
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

fn legacy_escape(code: &str) -> Option<String> {
    let known = [("SP", "@"), ("BP", "*"), ("RF", "&"), ("LT", "<"), ("GT", ">"), ("LP", "("), ("RP", ")"), ("C", ",")];
    if let Some((_, text)) = known.iter().find(|k| k.0 == code) {
        return Some((*text).to_string());
    }
    let number = u32::from_str_radix(code.strip_prefix('u')?, 16).ok()?;
    char::from_u32(number).map(String::from)
}

/// The newer scheme.
pub fn v0(text: &str) -> Option<String> {
    // Suffixes of compilers: `.llvm.123`.
    let text = text.split('.').next()?.as_bytes();
    let mut d = Demangler { text, at: 0, out: String::new(), depth: 0, silent: false };
    d.path(true)?;
    // The crate that an instance was made in may follow.
    if d.at < text.len() {
        d.silent = true;
        d.path(false)?;
    }
    (d.at == text.len()).then_some(d.out)
}

struct Demangler<'a> {
    text: &'a [u8],
    at: usize,
    out: String,
    depth: u32,
    /// Read without writing.
    silent: bool,
}

const BASIC: &[(u8, &str)] = &[
    (b'a', "i8"),
    (b'b', "bool"),
    (b'c', "char"),
    (b'd', "f64"),
    (b'e', "str"),
    (b'f', "f32"),
    (b'h', "u8"),
    (b'i', "isize"),
    (b'j', "usize"),
    (b'l', "i32"),
    (b'm', "u32"),
    (b'n', "i128"),
    (b'o', "u128"),
    (b'p', "_"),
    (b's', "i16"),
    (b't', "u16"),
    (b'u', "()"),
    (b'v', "..."),
    (b'x', "i64"),
    (b'y', "u64"),
    (b'z', "!"),
];

impl Demangler<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn eat(&mut self, wanted: u8) -> bool {
        let hit = self.peek() == Some(wanted);
        self.at += usize::from(hit);
        hit
    }

    fn put(&mut self, text: &str) {
        if !self.silent {
            self.out += text;
        }
    }

    fn deeper(&mut self, f: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        self.depth += 1;
        let result = if self.depth > DEEP || self.out.len() > LONG { None } else { f(self) };
        self.depth -= 1;
        result
    }

    /// Digits of base 62 before an underscore; `_` alone is 0.
    fn number62(&mut self) -> Option<u64> {
        let mut value = 0u64;
        if self.eat(b'_') {
            return Some(0);
        }
        loop {
            let digit = match self.next()? {
                b'_' => return value.checked_add(1),
                c @ b'0'..=b'9' => c - b'0',
                c @ b'a'..=b'z' => c - b'a' + 10,
                c @ b'A'..=b'Z' => c - b'A' + 36,
                _ => return None,
            };
            value = value.checked_mul(62)?.checked_add(digit.into())?;
        }
    }

    /// `s` and a number, where two things have one name; 0 without.
    fn disambiguator(&mut self) -> Option<u64> {
        if self.eat(b's') { self.number62()?.checked_add(1) } else { Some(0) }
    }

    fn identifier(&mut self) -> Option<String> {
        let unicode = self.eat(b'u');
        let mut len = 0usize;
        while let Some(d) = self.peek().filter(u8::is_ascii_digit) {
            len = len.checked_mul(10)?.checked_add(usize::from(d - b'0'))?;
            self.at += 1;
        }
        self.eat(b'_');
        let name = self.text.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        let name = std::str::from_utf8(name).ok()?;
        // Letters beyond ASCII are left in their encoding.
        Some(if unicode { format!("punycode{{{name}}}") } else { name.to_string() })
    }

    /// Goes on at an earlier place, then comes back.
    fn back(&mut self, f: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let start = self.at - 1;
        // Counted from behind the `_R`.
        let target = usize::try_from(self.number62()?).ok().filter(|&t| t < start)?;
        if self.silent {
            return Some(());
        }
        let after = std::mem::replace(&mut self.at, target);
        let result = self.deeper(f);
        self.at = after;
        result
    }

    /// A path; `value`: of a function, whose generic arguments have `::` before them.
    fn path(&mut self, value: bool) -> Option<()> {
        self.deeper(|d| match d.next()? {
            b'C' => {
                d.disambiguator()?;
                let name = d.identifier()?;
                d.put(&name);
                Some(())
            }
            b'N' => d.nested(value),
            b'M' => {
                d.implementation()?;
                d.put("<");
                d.kind()?;
                d.put(">");
                Some(())
            }
            c @ (b'X' | b'Y') => {
                if c == b'X' {
                    d.implementation()?;
                }
                d.put("<");
                d.kind()?;
                d.put(" as ");
                d.path(false)?;
                d.put(">");
                Some(())
            }
            b'I' => {
                d.path(value)?;
                d.put(if value { "::<" } else { "<" });
                d.several(b'E', ", ", Self::argument)?;
                d.put(">");
                Some(())
            }
            b'B' => d.back(|d| d.path(value)),
            _ => None,
        })
    }

    /// Where an `impl` stands says nothing to people.
    fn implementation(&mut self) -> Option<()> {
        let outer = std::mem::replace(&mut self.silent, true);
        let result = self.disambiguator().and_then(|_| self.path(false));
        self.silent = outer;
        result
    }

    fn nested(&mut self, value: bool) -> Option<()> {
        let space = self.next()?;
        self.path(value)?;
        let number = self.disambiguator()?;
        let name = self.identifier()?;
        match space {
            b'A'..=b'Z' => {
                let what = match space {
                    b'C' => "closure".to_string(),
                    b'S' => "shim".to_string(),
                    other => char::from(other).to_string(),
                };
                let colon = if name.is_empty() { "" } else { ":" };
                self.put(&format!("::{{{what}{colon}{name}#{number}}}"));
            }
            _ if !name.is_empty() => self.put(&format!("::{name}")),
            _ => {}
        }
        Some(())
    }

    fn several(&mut self, end: u8, separator: &str, one: impl Fn(&mut Self) -> Option<()>) -> Option<usize> {
        let mut count = 0;
        while !self.eat(end) {
            if count > 0 {
                self.put(separator);
            }
            one(self)?;
            count += 1;
        }
        Some(count)
    }

    fn argument(&mut self) -> Option<()> {
        match self.peek()? {
            b'L' => {
                self.at += 1;
                self.number62()?;
                self.put("'_");
                Some(())
            }
            b'K' => {
                self.at += 1;
                self.constant()
            }
            _ => self.kind(),
        }
    }

    fn constant(&mut self) -> Option<()> {
        self.deeper(|d| {
            let kind = d.next()?;
            match kind {
                b'B' => return d.back(Self::constant),
                b'p' => {
                    d.put("_");
                    return Some(());
                }
                _ => {}
            }
            let negative = d.eat(b'n');
            let start = d.at;
            while d.next()? != b'_' {}
            let digits = std::str::from_utf8(&d.text[start..d.at - 1]).ok()?;
            let value = u64::from_str_radix(if digits.is_empty() { "0" } else { digits }, 16).ok()?;
            let shown = match kind {
                b'b' => (value == 1).to_string(),
                b'c' => format!("{:?}", char::from_u32(u32::try_from(value).ok()?)?),
                _ => format!("{}{value}", if negative { "-" } else { "" }),
            };
            d.put(&shown);
            Some(())
        })
    }

    fn kind(&mut self) -> Option<()> {
        self.deeper(|d| {
            let c = d.peek()?;
            if let Some((_, name)) = BASIC.iter().find(|b| b.0 == c) {
                d.at += 1;
                d.put(name);
                return Some(());
            }
            match c {
                b'A' | b'S' => {
                    d.at += 1;
                    d.put("[");
                    d.kind()?;
                    if c == b'A' {
                        d.put("; ");
                        d.constant()?;
                    }
                    d.put("]");
                }
                b'T' => {
                    d.at += 1;
                    d.put("(");
                    let count = d.several(b'E', ", ", Self::kind)?;
                    d.put(if count == 1 { ",)" } else { ")" });
                }
                b'R' | b'Q' => {
                    d.at += 1;
                    if d.eat(b'L') {
                        d.number62()?;
                    }
                    d.put(if c == b'R' { "&" } else { "&mut " });
                    d.kind()?;
                }
                b'P' | b'O' => {
                    d.at += 1;
                    d.put(if c == b'P' { "*const " } else { "*mut " });
                    d.kind()?;
                }
                b'F' => d.function()?,
                b'D' => d.object()?,
                b'B' => {
                    d.at += 1;
                    d.back(Self::kind)?;
                }
                _ => d.path(false)?,
            }
            Some(())
        })
    }

    /// Lifetimes that a type brings with it: `for<'a>`.
    fn binder(&mut self) -> Option<()> {
        if self.eat(b'G') {
            self.number62()?;
        }
        Some(())
    }

    fn function(&mut self) -> Option<()> {
        self.at += 1;
        self.binder()?;
        if self.eat(b'U') {
            self.put("unsafe ");
        }
        if self.eat(b'K') {
            let abi = if self.eat(b'C') { "C".to_string() } else { self.identifier()?.replace('_', "-") };
            self.put(&format!("extern \"{abi}\" "));
        }
        self.put("fn(");
        self.several(b'E', ", ", Self::kind)?;
        self.put(")");
        if !self.eat(b'u') {
            self.put(" -> ");
            self.kind()?;
        }
        Some(())
    }

    fn object(&mut self) -> Option<()> {
        self.at += 1;
        self.put("dyn ");
        self.binder()?;
        self.several(b'E', " + ", Self::bound)?;
        self.eat(b'L').then_some(())?;
        self.number62()?;
        Some(())
    }

    /// A trait, with its generic arguments and the types it is bound to.
    fn bound(&mut self) -> Option<()> {
        self.path(false)?;
        while self.eat(b'p') {
            // Inside the brackets of the arguments, where there are some.
            let open = if self.out.ends_with('>') && !self.silent {
                self.out.pop();
                ", "
            } else {
                "<"
            };
            let name = self.identifier()?;
            let mut text = String::new();
            let _ = write!(text, "{open}{name} = ");
            self.put(&text);
            self.kind()?;
            self.put(">");
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_names() {
        for (name, want) in [
            ("core::fmt::write::h0123456789abcdef", "core::fmt::write"),
            (
                "_$LT$rs..inner..Thing$LT$u32$GT$$u20$as$u20$rs..Go$GT$::go::h25a26bc8ddd276b1",
                "<rs::inner::Thing<u32> as rs::Go>::go",
            ),
            (
                "std::rt::lang_start::_$u7b$$u7b$closure$u7d$$u7d$::hb6e30565f2a810dd",
                "std::rt::lang_start::{{closure}}",
            ),
        ] {
            assert_eq!(legacy(name).as_deref(), Some(want));
        }
        assert_eq!(legacy("ns::f"), None);
    }

    #[test]
    fn newer_names() {
        for (symbol, want) in [
            ("NvCsbFYJioi4cCO_2rs4call", "rs::call"),
            ("NvXCsbFYJioi4cCO_2rsINtNtB2_5inner5ThingmENtB2_2Go2go", "<rs::inner::Thing<u32> as rs::Go>::go"),
            ("NCINvNtCsjrHSEGnQ3l9_3std2rt10lang_startuE0CsbFYJioi4cCO_2rs", "std::rt::lang_start::<()>::{closure#0}"),
            (
                "INvNtNtCsjrHSEGnQ3l9_3std3sys9backtrace28___rust_begin_short_backtraceFEuuECsbFYJioi4cCO_2rs",
                "std::sys::backtrace::__rust_begin_short_backtrace::<fn(), ()>",
            ),
        ] {
            assert_eq!(v0(symbol).as_deref(), Some(want), "{symbol}");
        }
    }

    #[test]
    fn garbage_never_panics() {
        for good in ["NvXCsbFYJioi4cCO_2rsINtNtB2_5inner5ThingmENtB2_2Go2go", "INvC1aFGUKCRhEDNtB2_1bp1cyEL_Kj5_E"] {
            for at in 0..good.len() {
                for b in b"NCXYIBRTADFKL019_usp" {
                    let mut bad = good.as_bytes().to_vec();
                    bad[at] = *b;
                    let _ = v0(&String::from_utf8(bad).unwrap());
                }
                let _ = v0(&good[..at]);
            }
        }
    }
}
