//! Macro expansion.
//!
//! In: tokens from a [`Source`] (the include stack, or nothing), and the table
//! of macros. Out: tokens with all macros replaced, one at a time.
//! Invariants: a macro is not expanded inside its own expansion; what a macro
//! produced stands where it was used; the work is bounded, because the tokens
//! that macros produce are counted, and so is the depth of calls in arguments.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::lex;
use super::token::{Interner, Kind, Sym, Token, punct};
use crate::diagnostic::Diagnostic;
use crate::span::Span;

/// Tokens that macros may produce in one compilation. The largest kernel
/// headers need under 100 000.
const MOST_TOKENS: usize = 1_000_000;
/// Depth of calls in arguments of calls.
const DEEPEST: usize = 100;
/// Parameters of one macro; C asks compilers for 127.
pub(super) const MOST_PARAMETERS: usize = 1000;

/// Where unexpanded tokens come from.
pub(super) trait Source {
    /// The next token; directives before it have been obeyed.
    fn token(&mut self, expander: &mut Expander) -> Token;
    /// Name of the file and number of the line, for `__FILE__` and `__LINE__`.
    fn place(&self, span: Span) -> (String, u32);
    /// The text of a macro that only the headers' tables know.
    fn constant(&mut self, name: &str) -> Option<String>;
}

/// A token of a macro's body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct BodyToken {
    pub(super) token: Token,
    /// The parameter it names.
    pub(super) param: Option<u16>,
}

/// Macros that are computed where they are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dynamic {
    /// `__LINE__`.
    Line,
    /// `__FILE__`.
    File,
    /// `__COUNTER__`.
    Counter,
}

/// A macro.
#[derive(Clone, Debug)]
pub(super) struct Macro {
    /// Parameters, for macros that take any.
    pub(super) params: Option<Vec<Sym>>,
    /// The last parameter takes all arguments that are left.
    pub(super) variadic: bool,
    /// Replacement.
    pub(super) body: Rc<[BodyToken]>,
    /// The definition; `None` for what btc itself defines.
    pub(super) span: Option<Span>,
    /// Computed?
    pub(super) dynamic: Option<Dynamic>,
}

impl Macro {
    /// An object-like macro of btc's own.
    pub(super) fn predefined(text: &str, interner: &mut Interner) -> Macro {
        let tokens = lex::tokens(text, Span::default(), interner);
        let body = tokens.into_iter().map(|token| BodyToken { token, param: None }).collect();
        Macro { params: None, variadic: false, body, span: None, dynamic: None }
    }

    /// Whether a second definition says the same.
    pub(super) fn same_as(&self, other: &Macro) -> bool {
        let texts = |m: &Macro| m.body.iter().map(|b| (b.token.kind, b.token.text)).collect::<Vec<_>>();
        self.params == other.params && self.variadic == other.variadic && texts(self) == texts(other)
    }
}

/// Tokens waiting to be read.
struct Pending {
    tokens: Vec<Token>,
    next: usize,
    /// The macro they came from: not expanded while they last.
    from: Option<Sym>,
    /// Nothing below is read while this is here.
    barrier: bool,
}

/// Macros and the state of their expansion.
#[derive(Default)]
pub(super) struct Expander {
    pub(super) interner: Interner,
    pub(super) macros: HashMap<Sym, Rc<Macro>>,
    pub(super) problems: Vec<Diagnostic>,
    undefined: HashSet<Sym>,
    pending: Vec<Pending>,
    active: HashSet<Sym>,
    produced: usize,
    exhausted: bool,
    depth: usize,
    counter: u32,
}

/// An invocation's argument: as written, and expanded on first use.
struct Argument {
    raw: Vec<Token>,
    expanded: Option<Vec<Token>>,
}

impl Expander {
    /// The macro of this name, if it is one.
    pub(super) fn find(&mut self, name: Sym, source: &mut dyn Source) -> Option<Rc<Macro>> {
        if let Some(known) = self.macros.get(&name) {
            return Some(known.clone());
        }
        if self.undefined.contains(&name) {
            return None;
        }
        let text = source.constant(&self.interner.text(name))?;
        let constant = Rc::new(Macro::predefined(&text, &mut self.interner));
        self.macros.insert(name, constant.clone());
        Some(constant)
    }

    /// Defines or redefines a macro.
    pub(super) fn define(&mut self, name: Sym, new: Macro) {
        self.undefined.remove(&name);
        self.macros.insert(name, Rc::new(new));
    }

    /// Removes a macro, also one of the headers' tables.
    pub(super) fn undefine(&mut self, name: Sym) {
        self.undefined.insert(name);
        self.macros.remove(&name);
    }

    /// `$x` and `@x` are variables of the script, whatever macro `x` is.
    pub(super) fn mark_variables(&self, tokens: &mut [Token]) {
        let mut sigil = false;
        for token in tokens {
            if sigil && !token.space && token.kind == Kind::Ident {
                token.fixed = true;
            }
            sigil = token.kind == Kind::Other && matches!(&*self.interner.text(token.text), "$" | "@");
        }
    }

    /// The next token with macros expanded.
    pub(super) fn token(&mut self, source: &mut dyn Source) -> Token {
        loop {
            let mut token = self.raw(source);
            if token.kind != Kind::Ident || token.fixed {
                return token;
            }
            let Some(found) = self.find(token.text, source) else { return token };
            if self.active.contains(&token.text) || self.exhausted {
                token.fixed = true;
                return token;
            }
            if !self.invoke(token, &found, source) {
                return token;
            }
        }
    }

    /// Drops what is left of expansions, after an error or at a definition's end.
    pub(super) fn forget_pending(&mut self) {
        self.pending.clear();
        self.active.clear();
    }

    /// Makes ready for one expansion of at most `tokens` tokens.
    pub(super) fn restart(&mut self, tokens: usize) {
        self.forget_pending();
        self.produced = MOST_TOKENS.saturating_sub(tokens);
        self.exhausted = false;
        self.depth = 0;
        self.problems.clear();
    }

    fn raw(&mut self, source: &mut dyn Source) -> Token {
        while let Some(top) = self.pending.last_mut() {
            if let Some(&token) = top.tokens.get(top.next) {
                top.next += 1;
                return token;
            }
            if top.barrier {
                return Token::end(Span::default());
            }
            if let Some(from) = self.pending.pop().and_then(|p| p.from) {
                self.active.remove(&from);
            }
        }
        source.token(self)
    }

    fn push(&mut self, tokens: Vec<Token>, from: Option<Sym>) {
        if let Some(from) = from {
            self.active.insert(from);
        }
        self.pending.push(Pending { tokens, next: 0, from, barrier: false });
    }

    /// Expands a list of tokens on its own.
    pub(super) fn expand(&mut self, tokens: Vec<Token>, source: &mut dyn Source) -> Vec<Token> {
        self.depth += 1;
        self.pending.push(Pending { tokens, next: 0, from: None, barrier: true });
        let mut out = Vec::new();
        loop {
            let token = self.token(source);
            if token.is_end() {
                break;
            }
            out.push(token);
        }
        self.pending.pop();
        self.depth -= 1;
        out
    }

    /// Replaces a macro's name by its expansion; false if the name has to stay,
    /// as that of a function-like macro without arguments.
    fn invoke(&mut self, name: Token, found: &Rc<Macro>, source: &mut dyn Source) -> bool {
        if let Some(dynamic) = found.dynamic {
            let token = self.computed(name, dynamic, source);
            self.push(vec![token], None);
            return true;
        }
        let mut tokens = match &found.params {
            None => found.body.iter().map(|b| b.token).collect(),
            Some(params) => {
                if !self.at_parenthesis(source) {
                    return false;
                }
                let Some(mut args) = self.arguments(name, params.len(), found.variadic, source) else {
                    return true; // reported; the call is gone
                };
                self.substitute(found, &mut args, source)
            }
        };
        if found.params.is_none() && found.body.iter().any(|b| b.token.is("##")) {
            tokens = self.paste_all(tokens);
        }
        self.count(tokens.len() + 1, name.span);
        tokens.retain(|t| t.kind != Kind::Nothing);
        for (i, token) in tokens.iter_mut().enumerate() {
            token.span = name.span;
            token.first = false;
            if i == 0 {
                token.space = name.space;
            }
        }
        self.push(tokens, Some(name.text));
        true
    }

    fn count(&mut self, tokens: usize, at: Span) {
        self.produced += tokens;
        if self.produced > MOST_TOKENS && !self.exhausted {
            self.exhausted = true;
            let message = "macros expand to more than a million tokens";
            self.problems.push(
                Diagnostic::error("E0510", message)
                    .at(at, "while expanding this")
                    .help("the macros that this one uses multiply each other; write the value out"),
            );
        }
    }

    fn computed(&mut self, name: Token, dynamic: Dynamic, source: &mut dyn Source) -> Token {
        let (file, line) = source.place(name.span);
        let (kind, text) = match dynamic {
            Dynamic::Line => (Kind::Number, line.to_string()),
            Dynamic::File => (Kind::Str, format!("{file:?}")),
            Dynamic::Counter => {
                self.counter += 1;
                (Kind::Number, (self.counter - 1).to_string())
            }
        };
        Token { kind, text: self.interner.intern(&text), ..name }
    }

    /// Whether `(` comes next; what is read to find out is put back.
    fn at_parenthesis(&mut self, source: &mut dyn Source) -> bool {
        let token = self.raw(source);
        if token.is_end() {
            return false;
        }
        let found = token.is("(");
        self.push(vec![token], None);
        found
    }

    /// Reads `(a, b, ...)`.
    fn arguments(
        &mut self,
        name: Token,
        params: usize,
        variadic: bool,
        source: &mut dyn Source,
    ) -> Option<Vec<Argument>> {
        self.raw(source); // the parenthesis
        let mut args: Vec<Vec<Token>> = vec![Vec::new()];
        let mut depth = 0_usize;
        let mut len = 0;
        loop {
            let token = self.raw(source);
            len += 1;
            let whole = variadic && args.len() >= params;
            if token.is_end() {
                self.bad_call(name, "the list of arguments never ends", "add the missing `)`");
                return None;
            } else if token.is(")") && depth == 0 {
                break;
            } else if token.is(",") && depth == 0 && !whole {
                args.push(Vec::new());
                continue;
            } else if token.is("(") {
                depth += 1;
            } else if token.is(")") {
                depth -= 1;
            }
            if let Some(last) = args.last_mut() {
                last.push(token);
            }
        }
        self.count(len, name.span);
        if params == 0 && args.len() == 1 && args[0].is_empty() {
            args.clear();
        }
        if variadic && args.len() + 1 == params {
            args.push(Vec::new());
        }
        if args.len() != params {
            let text = format!("the macro takes {params} arguments, this gives {}", args.len());
            self.bad_call(name, &text, "");
            return None;
        }
        Some(args.into_iter().map(|raw| Argument { raw, expanded: None }).collect())
    }

    fn bad_call(&mut self, name: Token, text: &str, help: &str) {
        let message = format!("bad use of the macro `{}`", self.interner.text(name.text));
        let mut problem = Diagnostic::error("E0511", message).at(name.span, text);
        if !help.is_empty() {
            problem = problem.help(help);
        }
        self.problems.push(problem);
    }

    /// The body with arguments in the place of parameters.
    fn substitute(&mut self, found: &Macro, args: &mut [Argument], source: &mut dyn Source) -> Vec<Token> {
        let body = &found.body;
        let mut out: Vec<Token> = Vec::new();
        let mut i = 0;
        while i < body.len() {
            let here = body[i];
            let next = body.get(i + 1);
            if here.token.is("#") && next.is_some_and(|n| n.param.is_some()) {
                let arg = next.and_then(|n| n.param).and_then(|p| args.get(usize::from(p)));
                let text = arg.map_or_else(String::new, |a| self.stringify(&a.raw));
                let text = self.interner.intern(&text);
                out.push(Token { kind: Kind::Str, text, ..here.token });
                i += 2;
                continue;
            }
            let pastes = here.token.is("##") && i > 0 || next.is_some_and(|n| n.token.is("##"));
            let previous_pastes = i > 0 && body[i - 1].token.is("##");
            match here.param.and_then(|p| args.get_mut(usize::from(p))) {
                Some(arg) if pastes || previous_pastes => {
                    self.append_raw(&mut out, here, arg, found.variadic && is_last(here, found));
                }
                Some(arg) => {
                    let expanded = self.expanded(arg, here.token, source);
                    let start = out.len();
                    out.extend(expanded.iter().map(plain));
                    if let Some(first) = out.get_mut(start) {
                        first.space = here.token.space;
                    }
                }
                None => out.push(here.token),
            }
            i += 1;
            if self.exhausted {
                break;
            }
        }
        if body.iter().any(|b| b.token.is("##")) { self.paste_all(out) } else { out }
    }

    /// An argument beside `##`: as written. GNU C drops the comma of
    /// `, ## __VA_ARGS__` when nothing follows, and pastes nothing otherwise.
    fn append_raw(&mut self, out: &mut Vec<Token>, here: BodyToken, arg: &Argument, rest: bool) {
        let after_comma = rest && matches!(out.as_slice(), [.., comma, paste] if comma.is(",") && paste.is("##"));
        if after_comma {
            out.pop();
            if arg.raw.is_empty() {
                out.pop();
            }
            out.extend(arg.raw.iter().map(plain));
            return;
        }
        match arg.raw.first() {
            None => out.push(Token { kind: Kind::Nothing, ..here.token }),
            Some(_) => {
                let start = out.len();
                out.extend(arg.raw.iter().map(plain));
                out[start].space = here.token.space;
            }
        }
    }

    fn expanded(&mut self, arg: &mut Argument, at: Token, source: &mut dyn Source) -> Vec<Token> {
        if let Some(done) = &arg.expanded {
            self.count(done.len(), at.span);
            return done.clone();
        }
        let raw = arg.raw.clone();
        let done = if self.depth >= DEEPEST {
            if !self.exhausted {
                self.exhausted = true;
                let message = "macro calls are nested more than 100 deep";
                self.problems.push(Diagnostic::error("E0510", message).at(at.span, "in this macro's arguments"));
            }
            raw
        } else {
            self.expand(raw, source)
        };
        self.count(done.len(), at.span);
        arg.expanded = Some(done.clone());
        done
    }

    /// `#param`: the argument as a string.
    fn stringify(&self, raw: &[Token]) -> String {
        let mut text = String::from("\"");
        for (i, token) in raw.iter().enumerate() {
            if i > 0 && (token.space || token.first) {
                text.push(' ');
            }
            let part = self.interner.text(token.text);
            for c in part.chars() {
                if matches!(token.kind, Kind::Str | Kind::Char) && matches!(c, '"' | '\\') || c == '"' {
                    text.push('\\');
                }
                text.push(c);
            }
        }
        text.push('"');
        text
    }

    /// Joins the neighbours of every `##`.
    fn paste_all(&mut self, tokens: Vec<Token>) -> Vec<Token> {
        let mut out: Vec<Token> = Vec::with_capacity(tokens.len());
        let mut iter = tokens.into_iter();
        while let Some(token) = iter.next() {
            if !token.is("##") || out.is_empty() {
                out.push(token);
                continue;
            }
            let (Some(left), Some(right)) = (out.pop(), iter.next()) else { break };
            self.paste(left, right, &mut out);
        }
        out
    }

    /// Joins two tokens. Where the result is no token, both stay.
    fn paste(&mut self, left: Token, right: Token, out: &mut Vec<Token>) {
        if left.kind == Kind::Nothing || right.kind == Kind::Nothing {
            let kept = if left.kind == Kind::Nothing { right } else { left };
            out.push(Token { space: left.space, ..kept });
            return;
        }
        let text = format!("{}{}", self.interner.text(left.text), self.interner.text(right.text));
        match lex::tokens(&text, left.span, &mut self.interner).as_slice() {
            [one] => out.push(Token { space: left.space, ..*one }),
            _ => out.extend([left, right]),
        }
    }

    /// Tokens as text that reads as the same tokens.
    pub(super) fn to_text(&self, tokens: &[Token]) -> String {
        let mut text = String::new();
        let mut last: Option<Token> = None;
        for token in tokens {
            let part = self.interner.text(token.text);
            if last.is_some_and(|l| token.space || token.first || glues(&text, l, &part)) {
                text.push(' ');
            }
            text.push_str(&part);
            last = Some(*token);
        }
        text
    }
}

/// `##` inside an argument is no operator.
fn plain(token: &Token) -> Token {
    if token.is("##") { Token { kind: Kind::Other, ..*token } } else { *token }
}

fn is_last(here: BodyToken, found: &Macro) -> bool {
    let last = found.params.as_ref().map_or(0, Vec::len);
    here.param.is_some_and(|p| usize::from(p) + 1 == last)
}

/// Would a token read differently right behind the text so far?
fn glues(before: &str, last: Token, next: &str) -> bool {
    let (Some(b), Some(&n)) = (before.bytes().last(), next.as_bytes().first()) else { return false };
    if lex::is_name(b) && (lex::is_name(n) || n == b'.' && last.kind == Kind::Number) {
        return true;
    }
    if b == b'.' && n.is_ascii_digit() {
        return true;
    }
    let doubled = b == n && b"+-<>&|=#.:".contains(&b);
    let with_equals = n == b'=' && b"<>!=*/%+-&|^".contains(&b);
    let other = b == b'-' && n == b'>' || b == b'/' && (n == b'/' || n == b'*');
    last.text != punct("(") && (doubled || with_equals || other)
}
