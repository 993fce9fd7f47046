//! Demangling of C++ and Rust names, as far as names of functions need it: the
//! Itanium scheme without expressions (`X...E`, `decltype`), and Rust's older
//! scheme, which is made of it. What is not understood stays mangled.
//!
//! In: a symbol. Out: its name as LLVM's demangler writes it, because scripts are
//! written to match that. Both sides need it: tracers match and show names, the
//! compiler lists them. It is small rather than quick: a full demangler would add a
//! tenth to an executable.

use crate::probe::pattern_matches;

/// Deepest nesting; no real name comes near.
const MAX_DEPTH: u32 = 96;

/// Longest part of a name: substitutions of substitutions may grow without end.
const MAX_LENGTH: usize = 1 << 14;

/// A symbol's name as written in the source; the name itself when it is not mangled.
pub fn demangle(symbol: &str) -> String {
    full(symbol).unwrap_or_else(|| symbol.to_string())
}

/// Does a symbol, demangled, match what a script asks for? Without parameters
/// every overload does.
pub fn matches(symbol: &str, wanted: &str) -> bool {
    if pattern_matches(wanted, symbol) {
        return true;
    }
    let Some(mut name) = full(symbol) else { return false };
    if !wanted.contains('(') {
        name.truncate(parameters(&name));
        // The return type of a template is no part of its name.
        return pattern_matches(wanted, &name) || pattern_matches(wanted, without_return(&name));
    }
    name == wanted || pattern_matches(wanted, &name)
}

/// Where the list of parameters begins: at the bracket whose partner is the last one.
fn parameters(name: &str) -> usize {
    let mut depth = 0;
    for (i, b) in name.bytes().enumerate().rev().skip_while(|&(_, b)| b != b')') {
        match b {
            b')' => depth += 1,
            b'(' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i;
        }
    }
    name.len()
}

/// The name behind a return type: behind the last blank that no bracket encloses.
fn without_return(name: &str) -> &str {
    let mut depth = 0;
    for (i, b) in name.bytes().enumerate().rev() {
        match b {
            b'>' | b')' | b'}' => depth += 1,
            b'<' | b'(' | b'{' => depth -= 1,
            b' ' if depth == 0 && !name[..i].ends_with("operator") => return &name[i + 1..],
            _ => {}
        }
    }
    name
}

fn full(symbol: &str) -> Option<String> {
    // Rust's older scheme looks like C++, so it is asked first; `#` leaves out the hash.
    if let Ok(rust) = rustc_demangle::try_demangle(symbol) {
        return Some(format!("{rust:#}"));
    }
    let rest = symbol.strip_prefix("_Z")?;
    let mut d =
        Demangler { text: rest.as_bytes(), at: 0, known: Vec::new(), arguments: Vec::new(), pack: None, depth: 0 };
    let mut name = d.encoding()?;
    match d.peek() {
        None => {}
        // Clones that compilers make have a suffix.
        Some(b'.') => name = cat(&[&name, " (", &rest[d.at..], ")"]),
        Some(_) => return None,
    }
    Some(name)
}

/// A type around what is declared: `int (*` and `)(char)`.
#[derive(Clone, Default)]
struct Type {
    left: String,
    right: String,
    /// A function or an array: a pointer to it needs brackets.
    wrap: bool,
}

impl Type {
    fn plain(left: impl Into<String>) -> Type {
        Type { left: left.into(), ..Type::default() }
    }

    fn text(&self) -> String {
        cat(&[&self.left, &self.right])
    }

    /// A pointer or reference to it.
    fn to(mut self, mark: &str) -> Type {
        if std::mem::take(&mut self.wrap) {
            self.left = cat(&[&self.left, if self.left.ends_with(' ') { "(" } else { " (" }]);
            self.right = cat(&[")", &self.right]);
        } else if mark.starts_with('&') && self.left.ends_with('&') {
            // A reference to a reference is one; only `&&` to `&&` stays double.
            if mark == "&" && self.left.ends_with("&&") {
                self.left.pop();
            }
            return self;
        }
        self.left = cat(&[&self.left, mark]);
        self
    }
}

/// A name that is being read.
#[derive(Default)]
struct Name {
    text: String,
    /// Ends with template arguments, so that a return type precedes the parameters.
    template: bool,
    /// Behind the parameters: ` const`.
    suffix: String,
}

struct Demangler<'a> {
    text: &'a [u8],
    at: usize,
    /// Substitution candidates.
    known: Vec<Type>,
    /// Template arguments that `T_` means; several where one is a pack.
    arguments: Vec<Vec<Type>>,
    /// In a pack expansion: which element, and how many there are.
    pack: Option<(usize, usize)>,
    depth: u32,
}

/// Builtin types: letter, then name. Texts rather than arrays of them: those would
/// take an address and a length for each.
const BUILTINS: &str = "asigned char;bbool;cchar;ddouble;elong double;ffloat;g__float128;hunsigned char;iint;\
    junsigned int;llong;munsigned long;n__int128;ounsigned __int128;sshort;tunsigned short;vvoid;wwchar_t;\
    xlong long;yunsigned long long;z...";

/// Builtin types behind a `D`.
const MORE_BUILTINS: &str = "nstd::nullptr_t;ichar32_t;schar16_t;uchar8_t;aauto;cdecltype(auto);hhalf";

/// Abbreviations behind an `S`.
const STANDARD: &str = "astd::allocator;bstd::basic_string;sstd::string;istd::istream;ostd::ostream;dstd::iostream";

/// Operators: two letters, then what follows the word.
const OPERATORS: &str = "pl+;mi-;ml*;dv/;rm%;an&;or|;eo^;aS=;pL+=;mI-=;mL*=;dV/=;rM%=;aN&=;oR|=;eO^=;ls<<;rs>>;\
    lS<<=;rS>>=;eq==;ne!=;lt<;gt>;le<=;ge>=;ss<=>;nt!;aa&&;oo||;pp++;mm--;cm,;pm->*;pt->;cl();ix[];co~;ng-;ps+;\
    ad&;de*;nwnew;nanew[];dldelete;dadelete[];awco_await";

fn lookup(table: &'static str, key: &[u8]) -> Option<&'static str> {
    table.split(';').find(|row| row.as_bytes().starts_with(key)).map(|row| &row[key.len()..])
}

impl Demangler<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, wanted: &str) -> bool {
        let hit = self.text[self.at.min(self.text.len())..].starts_with(wanted.as_bytes());
        self.at += if hit { wanted.len() } else { 0 };
        hit
    }

    fn know(&mut self, ty: Type) -> Option<Type> {
        (ty.left.len() + ty.right.len() < MAX_LENGTH).then_some(())?;
        self.known.push(ty.clone());
        Some(ty)
    }

    /// Counts nesting around a rule.
    fn nest<T>(&mut self, rule: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.depth += 1;
        let result = if self.depth > MAX_DEPTH { None } else { rule(self) };
        self.depth -= 1;
        result
    }

    /// A function with its parameters, or data without.
    fn encoding(&mut self) -> Option<String> {
        for (code, offsets, what) in [("Th", 1, "non-virtual thunk to "), ("Tv", 2, "virtual thunk to ")] {
            if self.eat(code) {
                (0..offsets).try_for_each(|_| self.number('_').map(|_| ()))?;
                return Some(cat(&[what, &self.nest(Self::encoding)?]));
            }
        }
        let name = self.nest(Self::name)?;
        if matches!(self.peek(), None | Some(b'E' | b'.')) {
            return Some(cat(&[&name.text, &name.suffix]));
        }
        let result = if name.template { self.kind()? } else { Type::default() };
        let parameters = self.parameters()?;
        let blank = if result.left.is_empty() || result.left.ends_with(['*', '&']) && !result.right.is_empty() {
            ""
        } else {
            " "
        };
        Some(cat(&[&result.left, blank, &name.text, &parameters, &name.suffix, &result.right]))
    }

    /// `(int, char)`, up to the end or an `E`.
    fn parameters(&mut self) -> Option<String> {
        let mut list = Vec::new();
        while !matches!(self.peek(), None | Some(b'E' | b'.')) {
            list.push(self.kind()?.text());
        }
        Some(parenthesized(list))
    }

    /// Digits of an offset or index up to an end mark.
    fn number(&mut self, end: char) -> Option<&str> {
        let start = self.at;
        while self.peek()? != end as u8 {
            self.at += 1;
        }
        self.at += 1;
        std::str::from_utf8(&self.text[start..self.at - 1]).ok()
    }

    fn name(&mut self) -> Option<Name> {
        if self.eat("N") {
            return self.nested();
        }
        if self.eat("Z") {
            return self.local();
        }
        let mut name = Name::default();
        let standard = self.eat("St");
        if !standard && self.peek()? == b'S' {
            name.text = self.substitution()?.text();
        } else {
            let own = self.unqualified("")?;
            name.text = cat(&[if standard { "std::" } else { "" }, &own]);
            if self.peek() == Some(b'I') {
                self.know(Type::plain(name.text.clone()))?;
            }
        }
        if self.peek() == Some(b'I') {
            name.text = cat(&[&name.text, &self.template()?]);
            name.template = true;
        }
        Some(name)
    }

    /// `Z` function `E` entity: something inside of a function.
    fn local(&mut self) -> Option<Name> {
        let outer = self.nest(Self::encoding)?;
        self.eat("E").then_some(())?;
        let mut name = if self.eat("s") {
            Name { text: "string literal".into(), ..Name::default() }
        } else {
            if self.eat("d") {
                self.number('_')?;
            }
            self.nest(Self::name)?
        };
        // Which of several of that name.
        if self.eat("__") {
            self.number('_')?;
        } else if self.eat("_") {
            self.at += 1;
        }
        name.text = cat(&[&outer, "::", &name.text]);
        Some(name)
    }

    fn nested(&mut self) -> Option<Name> {
        let mut name = Name { suffix: self.qualifiers(), ..Name::default() };
        for (code, mark) in [("R", " &"), ("O", " &&")] {
            if self.eat(code) {
                name.suffix = cat(&[&name.suffix, mark]);
            }
        }
        // Constructors, destructors and conversions have no return type.
        let mut special = false;
        while !self.eat("E") {
            let known = match self.peek()? {
                b'S' if self.eat("St") => {
                    name.text = "std".to_string();
                    false
                }
                b'S' => {
                    name.text = self.substitution()?.text();
                    false
                }
                b'T' => {
                    name.text = self.parameter()?.text();
                    true
                }
                b'I' => {
                    name.text = cat(&[&name.text, &self.template()?]);
                    name.template = !special;
                    if self.peek()? != b'E' {
                        self.know(Type::plain(name.text.clone()))?;
                    }
                    continue;
                }
                _ => {
                    let start = self.at;
                    let own = self.unqualified(&name.text)?;
                    name.text = cat(&[&name.text, if name.text.is_empty() { "" } else { "::" }, &own]);
                    special = matches!(self.text[start], b'C' | b'D') || self.text[start..].starts_with(b"cv");
                    true
                }
            };
            name.template = false;
            if known && self.peek()? != b'E' {
                self.know(Type::plain(name.text.clone()))?;
            }
        }
        Some(name)
    }

    /// A name without what encloses it, which constructors are named by.
    fn unqualified(&mut self, scope: &str) -> Option<String> {
        self.eat("L");
        let mut name = match self.peek()? {
            b'0'..=b'9' => self.source_name()?,
            b'C' | b'D' => {
                let mark = if self.eat("D") { "~" } else { "" };
                self.at += usize::from(mark.is_empty());
                let inherited = self.eat("I");
                self.at += 1;
                if inherited {
                    self.kind()?;
                }
                cat(&[mark, base(scope)])
            }
            b'U' => self.unnamed()?,
            _ if self.eat("cv") => cat(&["operator ", &self.kind()?.text()]),
            _ if self.eat("li") => cat(&["operator\"\" ", &self.source_name()?]),
            _ => {
                let operator = lookup(OPERATORS, self.text.get(self.at..self.at + 2)?)?;
                self.at += 2;
                let blank = if operator.starts_with(|c: char| c.is_ascii_lowercase()) { " " } else { "" };
                cat(&["operator", blank, operator])
            }
        };
        while self.eat("B") {
            name = cat(&[&name, "[abi:", &self.source_name()?, "]"]);
        }
        Some(name)
    }

    /// Lambdas and types without a name.
    fn unnamed(&mut self) -> Option<String> {
        let (word, parameters) = if self.eat("Ut") {
            ("'unnamed", String::new())
        } else if self.eat("Ul") {
            let parameters = self.nest(Self::parameters)?;
            self.eat("E").then_some(())?;
            ("'lambda", parameters)
        } else {
            return None;
        };
        Some(cat(&[word, self.number('_')?, "'", &parameters]))
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

    /// An index in a base, ended by `_`: none is 0, `0` is 1.
    fn index(&mut self, radix: u32) -> Option<usize> {
        let digits = self.number('_')?;
        if digits.is_empty() {
            return Some(0);
        }
        usize::from_str_radix(digits, radix).ok()?.checked_add(1)
    }

    fn substitution(&mut self) -> Option<Type> {
        self.eat("S").then_some(())?;
        let c = self.peek()?;
        if let Some(name) = lookup(STANDARD, &[c]).filter(|_| c.is_ascii_lowercase()) {
            self.at += 1;
            return Some(Type::plain(name));
        }
        let index = self.index(36)?;
        self.known.get(index).cloned()
    }

    /// `T_`: a template argument; of a pack, the element that is being expanded.
    fn parameter(&mut self) -> Option<Type> {
        self.eat("T").then_some(())?;
        let index = self.index(10)?;
        let arguments = self.arguments.get(index)?;
        match (&mut self.pack, arguments.as_slice()) {
            (_, [one]) => Some(one.clone()),
            (Some((element, count)), all) => {
                *count = all.len();
                Some(all.get(*element).cloned().unwrap_or_default())
            }
            (None, all) => Some(Type::plain(joined(all.iter().map(Type::text)))),
        }
    }

    /// `I` arguments `E`.
    fn template(&mut self) -> Option<String> {
        self.eat("I").then_some(())?;
        let mut arguments = Vec::new();
        while !self.eat("E") {
            let argument = self.nest(Self::argument)?;
            arguments.push(argument);
        }
        let text = joined(arguments.iter().flatten().map(Type::text));
        // What the last list of the name stands for in its parameters.
        self.arguments = arguments;
        Some(cat(&["<", &text, ">"]))
    }

    fn argument(&mut self) -> Option<Vec<Type>> {
        if self.eat("J") {
            let mut all = Vec::new();
            while !self.eat("E") {
                all.extend(self.nest(Self::argument)?);
            }
            // Told from a single argument by its length only; one element is the same.
            return Some(all);
        }
        if !self.eat("L") {
            return Some(vec![self.kind()?]);
        }
        if self.eat("_Z") {
            let text = self.nest(Self::encoding)?;
            return self.eat("E").then(|| vec![Type::plain(text)]);
        }
        let letter = self.peek()?;
        let kind = self.kind()?.text();
        let value = self.number('E')?.replace('n', "-");
        let text = match letter {
            b'b' => (if value == "0" { "false" } else { "true" }).into(),
            b'i' => value,
            _ if kind == "std::nullptr_t" => "nullptr".into(),
            _ => match lookup("ju;ll;mul;xll;yull", &[letter]) {
                Some(suffix) => cat(&[&value, suffix]),
                None => cat(&["(", &kind, ")", &value]),
            },
        };
        Some(vec![Type::plain(text)])
    }

    fn qualifiers(&mut self) -> String {
        let (restrict, volatile, constant) = (self.eat("r"), self.eat("V"), self.eat("K"));
        let words = [(constant, " const"), (volatile, " volatile"), (restrict, " restrict")];
        words.iter().filter(|w| w.0).map(|w| w.1).collect()
    }

    fn kind(&mut self) -> Option<Type> {
        self.nest(Self::kind_inner)
    }

    fn kind_inner(&mut self) -> Option<Type> {
        let c = self.peek()?;
        for (code, mark) in [("P", "*"), ("R", "&"), ("O", "&&")] {
            if self.eat(code) {
                let ty = self.kind()?.to(mark);
                return self.know(ty);
            }
        }
        let ty = match c {
            b'r' | b'V' | b'K' => {
                let words = self.qualifiers();
                let mut ty = self.kind()?;
                let side = if ty.wrap { &mut ty.right } else { &mut ty.left };
                *side = cat(&[side, &words]);
                ty
            }
            b'F' | b'D' if self.eat("F") || self.eat("DoF") => self.function(c == b'D')?,
            b'A' => self.array()?,
            b'M' => {
                self.at += 1;
                let class = cat(&[&self.kind()?.text(), "::*"]);
                let mut member = self.kind()?;
                if !member.wrap {
                    member.left = cat(&[&member.left, " "]);
                }
                member.to(&class)
            }
            b'T' => {
                let ty = self.parameter()?;
                if self.peek() != Some(b'I') {
                    return self.know(ty);
                }
                self.know(ty.clone())?;
                Type::plain(cat(&[&ty.text(), &self.inner_template()?]))
            }
            b'S' if self.text.get(self.at + 1) != Some(&b't') => {
                let ty = self.substitution()?;
                if self.peek() != Some(b'I') {
                    return Some(ty);
                }
                Type::plain(cat(&[&ty.text(), &self.inner_template()?]))
            }
            b'D' if self.eat("Dp") => return self.expansion(),
            b'D' => {
                let name = lookup(MORE_BUILTINS, self.text.get(self.at + 1..self.at + 2)?)?;
                self.at += 2;
                return Some(Type::plain(name));
            }
            b'a'..=b'z' => {
                self.at += 1;
                return lookup(BUILTINS, &[c]).map(Type::plain);
            }
            b'N' | b'Z' | b'S' | b'0'..=b'9' => {
                let outer = self.arguments.clone();
                let name = self.name()?;
                self.arguments = outer;
                Type::plain(name.text)
            }
            _ => return None,
        };
        self.know(ty)
    }

    /// Arguments inside of a type: they are not what `T_` means.
    fn inner_template(&mut self) -> Option<String> {
        let outer = self.arguments.clone();
        let text = self.template();
        self.arguments = outer;
        text
    }

    fn function(&mut self, noexcept: bool) -> Option<Type> {
        self.eat("Y");
        let result = self.kind()?;
        let parameters = self.parameters()?;
        self.eat("E").then_some(())?;
        let right = cat(&[&parameters, if noexcept { " noexcept" } else { "" }, &result.right]);
        Some(Type { left: cat(&[&result.left, " "]), right, wrap: true })
    }

    /// `A` length `_` element.
    fn array(&mut self) -> Option<Type> {
        self.at += 1;
        let length = self.number('_')?.to_string();
        let element = self.kind()?;
        // Of an array of arrays the inner length comes last.
        let inner = if element.wrap { element.right.trim_start() } else { &element.right };
        Some(Type { right: cat(&[" [", &length, "]", inner]), left: element.left, wrap: true })
    }

    /// `Dp`: a type for every element of a pack.
    fn expansion(&mut self) -> Option<Type> {
        let (start, known, outer) = (self.at, self.known.len(), self.pack);
        let mut list = Vec::new();
        let (mut element, mut count) = (0, 1);
        let mut kept = None;
        while element < count.max(1) {
            self.at = start;
            self.known.truncate(known);
            self.pack = Some((element, 1));
            let ty = self.kind()?;
            count = self.pack.map_or(1, |p| p.1);
            if element < count {
                list.push(ty.text());
            }
            kept = kept.or_else(|| Some(self.known.clone()));
            element += 1;
        }
        self.known = kept?;
        self.pack = outer;
        Some(Type::plain(joined(list.into_iter())))
    }
}

/// The last part of a scope, without template arguments.
fn base(scope: &str) -> &str {
    let mut depth = 0;
    let mut end = scope.len();
    for (i, b) in scope.bytes().enumerate().rev() {
        match b {
            b'>' | b')' => depth += 1,
            b'<' | b'(' => {
                depth -= 1;
                if depth == 0 && b == b'<' {
                    end = i;
                }
            }
            b':' if depth == 0 => return &scope[i + 1..end],
            _ => {}
        }
    }
    &scope[..end]
}

/// One text of several. Not inlined: every `+` would take its own room.
#[inline(never)]
fn cat(parts: &[&str]) -> String {
    parts.concat()
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    // Packs may be empty.
    parts.filter(|p| !p.is_empty()).collect::<Vec<_>>().join(", ")
}

fn parenthesized(list: Vec<String>) -> String {
    let list = if list == ["void"] { Vec::new() } else { list };
    cat(&["(", &joined(list.into_iter()), ")"])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What LLVM's demangler says of the same symbols.
    #[test]
    fn names() {
        for (symbol, want) in [
            ("main", "main"),
            ("_ZN5fixns4overEi", "fixns::over(int)"),
            ("_ZN5fixns7Counter4bumpEv", "fixns::Counter::bump()"),
            ("_Z3addii", "add(int, int)"),
            ("_Z1fPKcRSs", "f(char const*, std::string&)"),
            ("_ZN1AC1Ev", "A::A()"),
            ("_ZN1AD2Ev", "A::~A()"),
            ("_Z1fIiEvT_", "void f<int>(int)"),
            ("_Z1fP1AS0_", "f(A*, A*)"),
            ("_ZN4shop4manyIJilcEEEiDpT_", "int shop::many<int, long, char>(int, long, char)"),
            ("_ZN4shop5applyEPFiiEi", "shop::apply(int (*)(int), int)"),
            ("_ZNK4shop3BoxIdE3getEi", "shop::Box<double>::get(int) const"),
            ("_ZN4shop7DerivedpLEi", "shop::Derived::operator+=(int)"),
            ("_ZN4shop12_GLOBAL__N_16hiddenEi", "shop::(anonymous namespace)::hidden(int)"),
            ("_ZN9__gnu_cxx6__poolILb0EE10_M_destroyEv", "__gnu_cxx::__pool<false>::_M_destroy()"),
            ("_ZdaPvm", "operator delete[](void*, unsigned long)"),
            ("_Z1fRA3_i", "f(int (&) [3])"),
            ("_Z1fM1AFviE", "f(void (A::*)(int))"),
            ("_Z1fM1Ai", "f(int A::*)"),
            ("_ZZ4mainENKUlvE_clEv", "main::'lambda'()::operator()() const"),
            ("_ZThn16_N1A1fEv", "non-virtual thunk to A::f()"),
            ("_Z3fooi.cold", "foo(int) (.cold)"),
            ("_ZNSt6vectorIiSaIiEE9push_backEOi", "std::vector<int, std::allocator<int>>::push_back(int&&)"),
            (
                "_ZNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEC1IPcvEET_S7_RKS3_",
                "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char>>::\
                 basic_string<char*, void>(char*, char*, std::allocator<char> const&)",
            ),
            (
                "_ZStlsISt11char_traitsIcEERSt13basic_ostreamIcT_ES5_PKc",
                "std::basic_ostream<char, std::char_traits<char>>& std::operator<<<std::char_traits<char>>\
                 (std::basic_ostream<char, std::char_traits<char>>&, char const*)",
            ),
            ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            ("_ZN4core3fmt5write17h0123456789abcdefE.llvm.77", "core::fmt::write"),
            ("_Z", "_Z"),
            ("_ZN1AE", "A"),
            ("_Z1fDTcl1gEE", "_Z1fDTcl1gEE"),
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
        assert!(matches("_ZN5fixns5over2Ei", "fixns::over*"));
        assert!(matches("_ZN4shop4manyIJilcEEEiDpT_", "shop::many<*"));
        assert!(matches("_ZN4shop4manyIJilcEEEiDpT_", "int shop::many<int, long, char>"));
        assert!(matches("_ZN4shop5applyEPFiiEi", "shop::apply"));
        assert!(matches("_ZNK4shop3BoxIdE3getEi", "shop::Box<double>::get"));
        assert!(matches("main", "main") && !matches("main", "mai"));
    }

    #[test]
    fn garbage_never_panics() {
        let names =
            ["_ZN3abcIiLi5EE1fEPKcRSsS0_", "_ZN4shop4manyIJilcEEEiDpT_", "_ZZ4mainENKUlvE_clEv", "_Z1fRA3_iMS_FviE"];
        for good in names {
            for at in 0..good.len() {
                for b in b"NSEILPKTDJAMZCUF019_z.\xff" {
                    let mut bad = good.as_bytes().to_vec();
                    bad[at] = *b;
                    demangle(&String::from_utf8_lossy(&bad));
                }
                demangle(&good[..at]);
            }
        }
        demangle(&("_Z1f".to_string() + &"FvP".repeat(5000)));
        // Each type twice as long as the one before.
        demangle(&("_Z1f".to_string() + &"1AI".repeat(40) + &"S_S_E".repeat(40)));
    }
}
