//! Demangling of C++ and Rust names, as far as names of functions need it: the
//! common part of the Itanium scheme (nested names, templates, substitutions,
//! builtin and class parameters). What it does not understand stays mangled.
//! A full demangler would add a tenth to the executable.

/// A symbol's name as written in the source; the name itself when it is not mangled.
pub fn demangle(symbol: &str) -> String {
    full(symbol).unwrap_or_else(|| symbol.to_string())
}

/// Does a symbol, demangled, match what a script asks for? Without parameters
/// every overload does.
pub fn matches(symbol: &str, wanted: &str) -> bool {
    let Some(name) = full(symbol) else { return symbol == wanted };
    let bare = name.split('(').next().unwrap_or(&name);
    if wanted.contains('(') { name == wanted } else { btc_payload::probe::pattern_matches(wanted, bare) }
}

fn full(symbol: &str) -> Option<String> {
    let rest = symbol.strip_prefix("_Z")?;
    // Clones that compilers make have a suffix.
    let rest = rest.split('.').next()?;
    let mut d = Demangler { text: rest.as_bytes(), at: 0, known: Vec::new(), depth: 0 };
    let (name, has_return) = d.name()?;
    if let Some(rust) = rust_name(&name) {
        return Some(rust);
    }
    if d.at == d.text.len() {
        return Some(name);
    }
    if has_return {
        d.kind()?;
    }
    let mut parameters = Vec::new();
    while d.at < d.text.len() {
        parameters.push(d.kind()?);
    }
    if parameters == ["void"] {
        parameters.clear();
    }
    Some(format!("{name}({})", parameters.join(", ")))
}

/// Rust's older scheme ends with a hash of 16 digits and writes `..` for `::`.
fn rust_name(name: &str) -> Option<String> {
    let (path, hash) = name.rsplit_once("::")?;
    let digits = hash.strip_prefix('h')?;
    if digits.len() != 16 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut out = path.replace("..", "::");
    for (code, text) in [("$LT$", "<"), ("$GT$", ">"), ("$RF$", "&"), ("$BP$", "*"), ("$C$", ","), ("$u20$", " ")] {
        out = out.replace(code, text);
    }
    Some(out.replace("::_<", "::<").strip_prefix('_').map_or(out.clone(), str::to_string))
}

struct Demangler<'a> {
    text: &'a [u8],
    at: usize,
    /// Substitution candidates.
    known: Vec<String>,
    depth: u32,
}

const BUILTINS: &[(u8, &str)] = &[
    (b'v', "void"),
    (b'b', "bool"),
    (b'c', "char"),
    (b'a', "signed char"),
    (b'h', "unsigned char"),
    (b's', "short"),
    (b't', "unsigned short"),
    (b'i', "int"),
    (b'j', "unsigned int"),
    (b'l', "long"),
    (b'm', "unsigned long"),
    (b'x', "long long"),
    (b'y', "unsigned long long"),
    (b'n', "__int128"),
    (b'o', "unsigned __int128"),
    (b'w', "wchar_t"),
    (b'f', "float"),
    (b'd', "double"),
    (b'e', "long double"),
    (b'z', "..."),
];

const STANDARD: &[(u8, &str)] = &[
    (b't', "std"),
    (b'a', "std::allocator"),
    (b'b', "std::basic_string"),
    (b's', "std::string"),
    (b'i', "std::istream"),
    (b'o', "std::ostream"),
    (b'd', "std::iostream"),
];

impl Demangler<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, wanted: u8) -> bool {
        let hit = self.peek() == Some(wanted);
        self.at += usize::from(hit);
        hit
    }

    /// A name, and whether a return type precedes the parameters (templates).
    fn name(&mut self) -> Option<(String, bool)> {
        self.depth += 1;
        if self.depth > 64 {
            return None;
        }
        let result = if self.eat(b'N') { self.nested() } else { self.unscoped() };
        self.depth -= 1;
        result
    }

    fn unscoped(&mut self) -> Option<(String, bool)> {
        let mut name = match self.peek()? {
            b'S' => {
                let prefix = self.substitution()?;
                if prefix == "std" && self.peek().is_some_and(|b| b.is_ascii_digit()) {
                    format!("std::{}", self.source_name()?)
                } else {
                    prefix
                }
            }
            _ => self.source_name()?,
        };
        if self.peek() == Some(b'I') {
            self.known.push(name.clone());
            name += &self.template()?;
            return Some((name, true));
        }
        Some((name, false))
    }

    fn nested(&mut self) -> Option<(String, bool)> {
        let constant = {
            while self.eat(b'V') || self.eat(b'r') {}
            self.eat(b'K')
        };
        let (mut path, mut last, mut template) = (String::new(), String::new(), false);
        while !self.eat(b'E') {
            match self.peek()? {
                b'S' => path = self.substitution()?,
                b'I' => {
                    path += &self.template()?;
                    template = true;
                    self.known.push(path.clone());
                    continue;
                }
                b'C' | b'D' => {
                    let destructor = self.peek()? == b'D';
                    self.at += 2;
                    path = format!("{path}::{}{last}", if destructor { "~" } else { "" });
                    template = false;
                    continue;
                }
                _ => {
                    last = self.source_name()?;
                    if !path.is_empty() {
                        path += "::";
                    }
                    path += &last;
                }
            }
            template = false;
            if self.peek()? != b'E' {
                self.known.push(path.clone());
            }
        }
        let _ = constant;
        Some((path, template))
    }

    fn source_name(&mut self) -> Option<String> {
        self.eat(b'L');
        let mut len = 0usize;
        let start = self.at;
        while let Some(d) = self.peek().filter(u8::is_ascii_digit) {
            len = len.checked_mul(10)?.checked_add(usize::from(d - b'0'))?;
            self.at += 1;
        }
        if start == self.at {
            return None;
        }
        let name = self.text.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        let name = std::str::from_utf8(name).ok()?;
        Some(if name.starts_with("_GLOBAL__N") { "(anonymous namespace)".into() } else { name.to_string() })
    }

    fn substitution(&mut self) -> Option<String> {
        self.at += 1;
        let c = self.peek()?;
        if let Some((_, name)) = STANDARD.iter().find(|s| s.0 == c) {
            self.at += 1;
            return Some((*name).to_string());
        }
        let mut index = 0usize;
        if c != b'_' {
            while let Some(d) = self.peek().filter(|&d| d != b'_') {
                let digit = char::from(d).to_digit(36)? as usize;
                index = index.checked_mul(36)?.checked_add(digit)?;
                self.at += 1;
            }
            index += 1;
        }
        self.eat(b'_').then_some(())?;
        self.known.get(index).cloned()
    }

    fn template(&mut self) -> Option<String> {
        self.at += 1;
        let mut arguments = Vec::new();
        while !self.eat(b'E') {
            if self.eat(b'L') {
                self.kind()?;
                let start = self.at;
                while self.peek()? != b'E' {
                    self.at += 1;
                }
                arguments.push(std::str::from_utf8(&self.text[start..self.at]).ok()?.replace('n', "-"));
                self.at += 1;
            } else {
                arguments.push(self.kind()?);
            }
        }
        Some(format!("<{}>", arguments.join(", ")))
    }

    fn kind(&mut self) -> Option<String> {
        self.depth += 1;
        if self.depth > 64 {
            return None;
        }
        let result = self.kind_inner();
        self.depth -= 1;
        result
    }

    fn kind_inner(&mut self) -> Option<String> {
        let c = self.peek()?;
        let suffix = match c {
            b'P' => "*",
            b'R' => "&",
            b'O' => "&&",
            b'K' => " const",
            b'V' => " volatile",
            _ => {
                if let Some((_, name)) = BUILTINS.iter().find(|b| b.0 == c) {
                    self.at += 1;
                    return Some((*name).to_string());
                }
                // What was a substitution is none again, unless arguments or a
                // member were added to it.
                let substituted = c == b'S' && self.text.get(self.at + 1) != Some(&b't');
                let (name, _) = self.name()?;
                if !substituted || name.ends_with('>') {
                    self.known.push(name.clone());
                }
                return Some(name);
            }
        };
        self.at += 1;
        let name = format!("{}{suffix}", self.kind()?);
        self.known.push(name.clone());
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (symbol, want) in [
            ("main", "main"),
            ("_ZN5fixns4overEi", "fixns::over(int)"),
            ("_ZN5fixns4overEd", "fixns::over(double)"),
            ("_ZN5fixns7Counter4bumpEv", "fixns::Counter::bump()"),
            ("_Z3addii", "add(int, int)"),
            ("_Z1fPKcRSs", "f(char const*, std::string&)"),
            ("_ZN1AC1Ev", "A::A()"),
            ("_ZN1AD2Ev", "A::~A()"),
            ("_Z1fIiEvT_", "_Z1fIiEvT_"),
            ("_Z1fP1AS0_", "f(A*, A*)"),
            ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            ("_Z", "_Z"),
        ] {
            assert_eq!(demangle(symbol), want);
        }
    }

    #[test]
    fn matching_overloads() {
        assert!(matches("_ZN5fixns4overEi", "fixns::over"));
        assert!(matches("_ZN5fixns4overEi", "fixns::over(int)"));
        assert!(!matches("_ZN5fixns4overEd", "fixns::over(int)"));
        assert!(!matches("_ZN5fixns5over2Ei", "fixns::over"));
    }

    #[test]
    fn garbage_never_panics() {
        let good = "_ZN3abcIiLi5EE1fEPKcRSsS0_";
        for at in 0..good.len() {
            for b in b"NSEILPK019_z" {
                let mut bad = good.as_bytes().to_vec();
                bad[at] = *b;
                demangle(&String::from_utf8(bad).unwrap());
            }
            demangle(&good[..at]);
        }
    }
}
