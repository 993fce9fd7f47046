//! C++ names, mangled as the Itanium C++ ABI says (chapter 5.1).
//!
//! In: `_Z...`. Out: what the common tools print. Left mangled: what holds
//! expressions (`X`, `DT`), vendor extensions, vectors.

/// Nesting from which on a symbol is taken for nonsense.
const DEEP: u32 = 96;
/// Longest result: substitutions can double a name again and again.
const LONG: usize = 1 << 14;
/// Separates the parts of a parameter pack until they are written in a list.
const PACK: char = '\u{1}';

/// The whole name, with parameters, and what says which clone of the function it is.
pub fn name(symbol: &str) -> Option<(String, String)> {
    let mut d = demangler(symbol)?;
    let text = d.encoding(true)?;
    let rest = &symbol["_Z".len() + d.at..];
    if rest.is_empty() {
        return Some((text, String::new()));
    }
    // Clones that compilers make: `.cold`, `.part.0`, each with its number.
    let mut clones = String::new();
    for part in rest.strip_prefix('.')?.split('.') {
        if !clones.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
            clones.pop();
            clones += &format!(".{part}]");
        } else {
            clones += &format!(" [clone .{part}]");
        }
    }
    Some((text, clones))
}

/// The name without return type and parameters.
pub fn bare(symbol: &str) -> Option<String> {
    demangler(symbol)?.name().map(|n| n.text)
}

fn demangler(symbol: &str) -> Option<Demangler<'_>> {
    let text = symbol.strip_prefix("_Z")?.as_bytes();
    Some(Demangler { text, at: 0, known: Vec::new(), arguments: Vec::new(), depth: 0, types: 0, lambda: false })
}

struct Demangler<'a> {
    text: &'a [u8],
    at: usize,
    /// Substitution candidates.
    known: Vec<Kind>,
    /// Template arguments of the function, for `T_`.
    arguments: Vec<String>,
    depth: u32,
    /// Within how many types: template arguments there are not the function's.
    types: u32,
    /// Within the parameters of a lambda, where `T_` is an `auto`.
    lambda: bool,
}

/// A type, as the parts before and behind what it declares.
#[derive(Clone, Default)]
struct Kind {
    left: String,
    right: String,
    /// A function or array: what points to it needs parentheses.
    open: bool,
}

struct Name {
    text: String,
    /// Ends in template arguments: a return type follows.
    template: bool,
    /// `const` and the like of a member function.
    qualifiers: String,
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
    (b'g', "__float128"),
    (b'z', "..."),
];

/// Builtin types of two letters, behind a `D`.
const MORE_BUILTINS: &[(u8, &str)] = &[
    (b'n', "decltype(nullptr)"),
    (b'i', "char32_t"),
    (b's', "char16_t"),
    (b'u', "char8_t"),
    (b'a', "auto"),
    (b'c', "decltype(auto)"),
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

/// Code and symbol of operators, three characters and more each.
const OPERATORS: &str = "nw new|na new[]|dl delete|da delete[]|ps+|ng-|ad&|de*|co~|pl+|mi-|ml*|dv/|rm%|an&|or\u{2}|eo^|\
    aS=|pL+=|mI-=|mL*=|dV/=|rM%=|aN&=|oR\u{2}=|eO^=|ls<<|rs>>|lS<<=|rS>>=|eq==|ne!=|lt<|gt>|le<=|ge>=|ss<=>|nt!|aa&&|\
    oo\u{2}\u{2}|pp++|mm--|cm,|pm->*|pt->|cl()|ix[]|qu?|aw co_await";

/// Prefixes of special symbols, and whether a type, a name or a function follows.
const SPECIAL: &[(&str, &str, u8)] = &[
    ("TV", "vtable for ", b't'),
    ("TT", "VTT for ", b't'),
    ("TI", "typeinfo for ", b't'),
    ("TS", "typeinfo name for ", b't'),
    ("GV", "guard variable for ", b'n'),
    ("TH", "TLS init function for ", b'n'),
    ("TW", "TLS wrapper function for ", b'n'),
    ("GTt", "transaction clone for ", b'0'),
    ("Th", "non-virtual thunk to ", b'1'),
    ("Tv", "virtual thunk to ", b'2'),
];

/// What ends the parameters of a function type, and what it says of the function.
const FUNCTION_ENDS: &[(&str, &str)] = &[("E", ""), ("RE", " &"), ("OE", " &&")];

impl Demangler<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, wanted: &str) -> bool {
        let hit = self.text[self.at..].starts_with(wanted.as_bytes());
        self.at += if hit { wanted.len() } else { 0 };
        hit
    }

    /// One level deeper, as long as that makes sense.
    fn deeper<T>(&mut self, f: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.depth += 1;
        let result = if self.depth > DEEP { None } else { f(self) };
        self.depth -= 1;
        result
    }

    /// A function or a special symbol. `whole`: with its return type.
    fn encoding(&mut self, whole: bool) -> Option<String> {
        self.deeper(|d| d.special().unwrap_or_else(|| d.function(whole)))
    }

    fn special(&mut self) -> Option<Option<String>> {
        let (_, prefix, follows) = SPECIAL.iter().find(|s| self.eat(s.0))?;
        let rest = match follows {
            b't' => self.kind().map(|k| k.left + &k.right),
            b'n' => self.name().map(|n| n.text),
            // Offsets, each behind its letter for the kind of thunk or before an underscore.
            offsets => {
                for _ in 0..offsets - b'0' {
                    while self.peek().is_some_and(|c| c != b'_') {
                        self.at += 1;
                    }
                    self.eat("_");
                }
                self.encoding(false)
            }
        };
        Some(rest.map(|r| format!("{prefix}{r}")))
    }

    fn function(&mut self, whole: bool) -> Option<String> {
        let n = self.name()?;
        if matches!(self.peek(), None | Some(b'E' | b'.')) {
            return Some(n.text);
        }
        let result = if n.template { self.kind()? } else { Kind::default() };
        let mut parameters = Vec::new();
        while !matches!(self.peek(), None | Some(b'E' | b'.')) {
            let k = self.kind()?;
            parameters.push(k.left + &k.right);
        }
        let body = format!("{}({}){}", n.text, in_order(&parameters), n.qualifiers);
        if !whole || !n.template {
            return Some(body);
        }
        let gap = if result.left.ends_with('(') || result.right.starts_with(')') { "" } else { " " };
        Some(format!("{}{gap}{body}{}", result.left, result.right))
    }

    fn name(&mut self) -> Option<Name> {
        self.deeper(|d| match d.peek()? {
            b'N' => d.nested(),
            b'Z' => d.local(),
            _ => d.unscoped(),
        })
    }

    fn unscoped(&mut self) -> Option<Name> {
        let mut text = String::new();
        if self.text[self.at..].starts_with(b"S") && !self.text[self.at..].starts_with(b"St") {
            text = self.substitution()?.left;
        } else {
            if self.eat("St") {
                text += "std::";
            }
            text += &self.component("")?.0;
            if self.peek() == Some(b'I') {
                self.learn(&text);
            }
        }
        let template = self.peek() == Some(b'I');
        if template {
            text += &self.template()?;
        }
        Some(Name { text, template, qualifiers: String::new() })
    }

    fn nested(&mut self) -> Option<Name> {
        self.at += 1;
        let qualifiers = self.qualifiers();
        let (mut path, mut last, mut template) = (String::new(), String::new(), false);
        while !self.eat("E") {
            match self.peek()? {
                b'S' if self.eat("St") => {
                    path = "std".into();
                    continue;
                }
                b'S' => {
                    path = self.substitution()?.left;
                    last = plain(&path);
                    continue;
                }
                b'T' => path = self.parameter()?.left,
                b'I' => {
                    path += &self.template()?;
                    template = true;
                }
                _ => {
                    let (part, returns) = self.component(&last)?;
                    last.clone_from(&part);
                    path = if path.is_empty() { part } else { format!("{path}::{part}") };
                    // Constructors and conversions have no return type, templates or not.
                    template = false;
                    if !returns && self.peek() == Some(b'I') {
                        self.learn(&path);
                        path += &self.template()?;
                    }
                }
            }
            if self.peek()? != b'E' {
                self.learn(&path);
            }
        }
        Some(Name { text: path, template, qualifiers })
    }

    /// `const` and references of a member function.
    fn qualifiers(&mut self) -> String {
        let mut out = String::new();
        let (restrict, volatile, constant) = (self.eat("r"), self.eat("V"), self.eat("K"));
        for (has, word) in [(constant, " const"), (volatile, " volatile"), (restrict, " restrict")] {
            out += if has { word } else { "" };
        }
        out += if self.eat("R") { " &" } else { "" };
        out += if self.eat("O") { " &&" } else { "" };
        out
    }

    fn local(&mut self) -> Option<Name> {
        self.at += 1;
        let outer = self.encoding(false)?;
        self.eat("E").then_some(())?;
        if self.eat("s") {
            self.discriminator();
            return Some(Name { text: format!("{outer}::string literal"), template: false, qualifiers: String::new() });
        }
        if self.eat("d") {
            while !self.eat("_") {
                self.peek()?;
                self.at += 1;
            }
        }
        let mut inner = self.name()?;
        self.discriminator();
        inner.text = format!("{outer}::{}", inner.text);
        Some(inner)
    }

    /// Tells apart what has one name in one function: `_1`, `__12_`.
    fn discriminator(&mut self) {
        if self.eat("__") {
            while self.peek().is_some_and(|c| c.is_ascii_digit()) {
                self.at += 1;
            }
            self.eat("_");
        } else if self.peek() == Some(b'_') && self.text.get(self.at + 1).is_some_and(u8::is_ascii_digit) {
            self.at += 2;
        }
    }

    /// One part of a path, and whether a return type may follow it; `class` is the part before.
    fn component(&mut self, class: &str) -> Option<(String, bool)> {
        self.eat("L");
        let (mut text, returns) = match self.peek()? {
            b'0'..=b'9' => (self.source_name()?, true),
            b'C' if matches!(self.text.get(self.at + 1), Some(b'1'..=b'5')) => {
                self.at += 2;
                (class.to_string(), false)
            }
            b'D' if matches!(self.text.get(self.at + 1), Some(b'0'..=b'5')) => {
                self.at += 2;
                (format!("~{class}"), false)
            }
            b'U' => (self.unnamed()?, true),
            _ => self.operator()?,
        };
        while self.eat("B") {
            text = format!("{text}[abi:{}]", self.source_name()?);
        }
        Some((text, returns))
    }

    fn operator(&mut self) -> Option<(String, bool)> {
        if self.eat("cv") {
            let k = self.kind()?;
            return Some((format!("operator {}{}", k.left, k.right), false));
        }
        if self.eat("li") {
            return Some((format!("operator\"\" {}", self.source_name()?), true));
        }
        let code = std::str::from_utf8(self.text.get(self.at..self.at + 2)?).ok()?;
        let symbol = OPERATORS.split('|').find_map(|o| o.strip_prefix(code))?;
        self.at += 2;
        Some((format!("operator{}", symbol.replace('\u{2}', "|")), true))
    }

    /// A lambda or a type without a name, by its number.
    fn unnamed(&mut self) -> Option<String> {
        let lambda = match () {
            () if self.eat("Ul") => true,
            () if self.eat("Ut") => false,
            () => return None,
        };
        let mut parameters = Vec::new();
        if lambda {
            let outer = std::mem::replace(&mut self.lambda, true);
            while !self.eat("E") {
                let k = self.kind()?;
                parameters.push(k.left + &k.right);
            }
            self.lambda = outer;
        }
        let number = self.number(10)? + 1;
        Some(match lambda {
            true => format!("{{lambda({})#{number}}}", in_order(&parameters)),
            false => format!("{{unnamed type#{number}}}"),
        })
    }

    /// `_` is 0, `0_` 1 and so on.
    fn number(&mut self, base: u32) -> Option<usize> {
        let mut index = None;
        while let Some(digit) = self.peek().and_then(|c| char::from(c).to_digit(base)) {
            index = Some(index.unwrap_or(0usize).checked_mul(base as usize)?.checked_add(digit as usize)?);
            self.at += 1;
            if base == 36 && self.peek().is_some_and(|c| c.is_ascii_lowercase()) {
                return None;
            }
        }
        self.eat("_").then(|| index.map_or(0, |i| i + 1))
    }

    fn source_name(&mut self) -> Option<String> {
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

    fn substitution(&mut self) -> Option<Kind> {
        self.at += 1;
        let c = self.peek()?;
        if let Some((_, name)) = STANDARD.iter().find(|s| s.0 == c) {
            self.at += 1;
            return Some(Kind { left: (*name).to_string(), ..Kind::default() });
        }
        let index = self.number(36)?;
        self.known.get(index).cloned()
    }

    fn parameter(&mut self) -> Option<Kind> {
        self.at += 1;
        let index = self.number(10)?;
        let left = match self.arguments.get(index) {
            _ if self.lambda => format!("auto:{}", index + 1),
            Some(argument) => argument.clone(),
            None => return None,
        };
        Some(Kind { left, ..Kind::default() })
    }

    /// `I...E`, with its brackets.
    fn template(&mut self) -> Option<String> {
        self.at += 1;
        let mut arguments = Vec::new();
        self.types += 1;
        while !self.eat("E") {
            arguments.push(self.argument()?);
        }
        self.types -= 1;
        let text = list(&arguments);
        if self.types == 0 {
            self.arguments = arguments;
        }
        Some(format!("<{text}{}>", if text.ends_with('>') { " " } else { "" }))
    }

    fn argument(&mut self) -> Option<String> {
        if self.eat("L") {
            return self.literal();
        }
        // Old compilers wrote packs as lists of arguments.
        if self.eat("J") || self.eat("I") {
            let mut parts = String::from(PACK);
            while !self.eat("E") {
                parts += &self.deeper(Self::argument)?;
                parts.push(PACK);
            }
            return Some(parts);
        }
        let k = self.kind()?;
        Some(k.left + &k.right)
    }

    fn literal(&mut self) -> Option<String> {
        if self.eat("_Z") {
            let name = self.encoding(false)?;
            return self.eat("E").then(|| format!("&{name}"));
        }
        let code = self.peek()?;
        let kind = self.kind()?;
        let start = self.at;
        while self.peek()? != b'E' {
            self.at += 1;
        }
        let value = std::str::from_utf8(&self.text[start..self.at]).ok()?.replace('n', "-");
        self.at += 1;
        Some(match (code, value.as_str()) {
            (b'b', "0") => "false".into(),
            (b'b', "1") => "true".into(),
            (b'i', _) => value,
            (b'j', _) => value + "u",
            (b'l', _) => value + "l",
            (b'm', _) => value + "ul",
            (b'x', _) => value + "ll",
            (b'y', _) => value + "ull",
            _ => format!("({}{}){value}", kind.left, kind.right),
        })
    }

    fn kind(&mut self) -> Option<Kind> {
        self.types += 1;
        let result = self.deeper(Self::kind_inner).filter(|k| k.left.len() + k.right.len() < LONG);
        self.types -= 1;
        result
    }

    fn kind_inner(&mut self) -> Option<Kind> {
        let c = self.peek()?;
        if let Some((_, name)) = BUILTINS.iter().find(|b| b.0 == c) {
            self.at += 1;
            return Some(Kind { left: (*name).to_string(), ..Kind::default() });
        }
        let found = match c {
            b'P' | b'R' | b'O' | b'K' | b'V' | b'r' => {
                self.at += 1;
                let to = self.kind()?;
                point(to, c)
            }
            b'F' => self.function_type("")?,
            b'A' => self.array()?,
            b'M' => self.member_pointer()?,
            b'D' => return self.d_type(),
            b'T' => {
                let k = self.parameter()?;
                self.with_arguments(k)?
            }
            b'S' if self.text.get(self.at + 1) != Some(&b't') => {
                let k = self.substitution()?;
                if self.peek() != Some(b'I') {
                    return Some(k);
                }
                let arguments = self.template()?;
                Kind { left: k.left + &arguments, ..Kind::default() }
            }
            _ => Kind { left: self.name()?.text, ..Kind::default() },
        };
        self.known.push(found.clone());
        Some(found)
    }

    /// A template that is a parameter itself may have arguments.
    fn with_arguments(&mut self, k: Kind) -> Option<Kind> {
        if self.peek() != Some(b'I') {
            return Some(k);
        }
        self.known.push(k.clone());
        Some(Kind { left: k.left + &self.template()?, ..Kind::default() })
    }

    fn d_type(&mut self) -> Option<Kind> {
        let c = *self.text.get(self.at + 1)?;
        if let Some((_, name)) = MORE_BUILTINS.iter().find(|b| b.0 == c) {
            self.at += 2;
            return Some(Kind { left: (*name).to_string(), ..Kind::default() });
        }
        let found = match c {
            b'p' => {
                self.at += 2;
                self.kind()?
            }
            b'o' => {
                self.at += 2;
                self.function_type(" noexcept")?
            }
            _ => return None,
        };
        self.known.push(found.clone());
        Some(found)
    }

    fn function_type(&mut self, suffix: &str) -> Option<Kind> {
        self.eat("F").then_some(())?;
        self.eat("Y");
        let result = self.kind()?;
        let mut parameters = Vec::new();
        let reference = loop {
            if let Some((_, mark)) = FUNCTION_ENDS.iter().find(|e| self.eat(e.0)) {
                break mark;
            }
            let k = self.kind()?;
            parameters.push(k.left + &k.right);
        };
        let right = format!("({}){reference}{suffix}{}", in_order(&parameters), result.right);
        Some(Kind { left: result.left + " ", right, open: true })
    }

    fn array(&mut self) -> Option<Kind> {
        self.at += 1;
        let start = self.at;
        while self.peek()? != b'_' {
            self.peek().filter(u8::is_ascii_digit)?;
            self.at += 1;
        }
        let count = std::str::from_utf8(&self.text[start..self.at]).ok()?.to_string();
        self.at += 1;
        let of = self.kind()?;
        Some(Kind { left: of.left, right: format!(" [{count}]{}", of.right), open: true })
    }

    fn member_pointer(&mut self) -> Option<Kind> {
        self.at += 1;
        let class = self.kind()?.left;
        let constant = self.peek() == Some(b'K') && self.text.get(self.at + 1) == Some(&b'F') && self.eat("K");
        let member = self.kind()?;
        if member.open {
            let right = format!("){}{}", member.right, if constant { " const" } else { "" });
            return Some(Kind { left: format!("{}({class}::*", member.left), right, open: false });
        }
        Some(Kind { left: format!("{} {class}::*", member.left), ..member })
    }

    fn learn(&mut self, path: &str) {
        self.known.push(Kind { left: path.to_string(), ..Kind::default() });
    }
}

/// A pointer, a reference or a qualified form of a type.
fn point(to: Kind, code: u8) -> Kind {
    let mark = match code {
        b'P' => "*",
        b'R' => "&",
        b'O' => "&&",
        b'K' => " const",
        b'V' => " volatile",
        _ => " restrict",
    };
    if to.open && matches!(code, b'P' | b'R' | b'O') {
        return Kind { left: format!("{} ({mark}", to.left.trim_end()), right: format!("){}", to.right), open: false };
    }
    // References of references are one, also those to functions and arrays that are arguments.
    let refers = |part: &str| part.ends_with('&') || ["(&)", "(&&)", "*&)"].iter().any(|r| part.contains(r));
    let one = |part: &str| match (code, refers(part)) {
        (b'R', true) if part.ends_with('&') => format!("{}&", part.trim_end_matches('&')),
        (b'R', true) => part.replacen("&&)", "&)", 1),
        (b'O', true) => part.to_string(),
        _ => format!("{part}{mark}"),
    };
    let parts: Vec<String> = to.left.split(PACK).map(|p| if p.is_empty() { String::new() } else { one(p) }).collect();
    Kind { left: parts.join("\u{1}"), ..to }
}

/// Parameters with commas; `void` alone is none.
fn in_order(parameters: &[String]) -> String {
    match parameters {
        [only] if only == "void" => String::new(),
        several => list(several),
    }
}

/// Parameters or arguments with commas; packs become their parts.
fn list(parts: &[String]) -> String {
    parts.iter().flat_map(|p| p.split(PACK)).filter(|p| !p.is_empty()).collect::<Vec<_>>().join(", ")
}

/// The last part of a path without its template arguments, which a constructor is called by.
fn plain(path: &str) -> String {
    let head = path.split('<').next().unwrap_or(path);
    let last = head.rsplit("::").next().unwrap_or(head);
    // `std::string` stands for a type of another name.
    if last == "string" { "basic_string".into() } else { last.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions() {
        for (symbol, want) in [
            ("_ZNK2ns1AclEi", "ns::A::operator()(int) const"),
            ("_ZN2ns1A3runEPFiiEe", "ns::A::run(int (*)(int), long double)"),
            ("_ZZ4mainENKUliE_clEi", "main::{lambda(int)#1}::operator()(int) const"),
            ("_Z5applyIZ4mainEUliE_EiT_", "int apply<main::{lambda(int)#1}>(main::{lambda(int)#1})"),
            (
                "_ZSt4moveIRiEONSt16remove_referenceIT_E4typeEOS2_",
                "std::remove_reference<int&>::type&& std::move<int&>(int&)",
            ),
            ("_ZNSt6vectorIiSaIiEE9push_backERKi", "std::vector<int, std::allocator<int> >::push_back(int const&)"),
            ("_ZNSt6vectorIiSaIiEEC2Ev", "std::vector<int, std::allocator<int> >::vector()"),
            ("_ZlsRSoRK3Foo", "operator<<(std::ostream&, Foo const&)"),
            ("_ZN3FoocvbEv", "Foo::operator bool()"),
            ("_Z1fRA10_iM1AFvvE", "f(int (&) [10], void (A::*)())"),
            ("_Z1gIJidEEvDpT_", "void g<int, double>(int, double)"),
            ("_Z1gIJidEEvDpOT_", "void g<int, double>(int&&, double&&)"),
            ("_Z1hILi5ELb1EEvv", "void h<5, true>()"),
            ("_Z1fv.part.0.cold", "f() [clone .part.0] [clone .cold]"),
            ("_ZTV3Foo", "vtable for Foo"),
            ("_ZN12_GLOBAL__N_11fEv", "(anonymous namespace)::f()"),
            ("_ZNSt7__cxx1112basic_stringIcE4sizeB5cxx11Ev", "std::__cxx11::basic_string<char>::size[abi:cxx11]()"),
        ] {
            assert_eq!(name(symbol).map(|n| n.0 + &n.1).as_deref(), Some(want), "{symbol}");
        }
    }

    #[test]
    fn garbage_never_panics() {
        for good in ["_ZN3abcIiLi5EE1fEPKcRSsS0_", "_ZZ4mainENKUliE_clEi", "_Z1gIJidEEvDpOT_", "_ZThn8_N1A1fEM1AFvvE"] {
            for at in 0..good.len() {
                for b in b"NSEILPK019_zTFAMDJUZXC" {
                    let mut bad = good.as_bytes().to_vec();
                    bad[at] = *b;
                    let _ = name(&String::from_utf8(bad).unwrap());
                }
                let _ = name(&good[..at]);
            }
        }
        // Substitutions that double each time end somewhere.
        let mut long = String::from("_Z1f1A");
        (0..40).for_each(|_| long += "1BIS_S_E");
        let _ = name(&long);
        let _ = name(&format!("_Z1f{}", "P".repeat(5000)));
    }
}
