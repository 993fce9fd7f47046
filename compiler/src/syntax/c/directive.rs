//! The preprocessor: directives, conditions and includes.
//!
//! In: the stack of files. Out: tokens of the active text; macros in the
//! expander; headers entered. Directives and inactive text of the script itself
//! are noted as ranges to blank, so that the rest keeps its offsets.
//! Invariants: every directive ends with its line; a bad one is reported and
//! otherwise ignored; a condition that cannot be computed counts as false.

use std::collections::HashMap;
use std::rc::Rc;

use super::constant::{self, Operand, Operands, Parsed, fail};
use super::expand::{BodyToken, Expander, MOST_PARAMETERS, Macro, Source};
use super::files::{Condition, Files, Found};
use super::skim::Skim;
use super::token::{Kind, Sym, Token, is_defined};
use crate::ctypes::nearest;
use crate::diagnostic::Diagnostic;
use crate::span::Span;

/// Macros of kernel headers whose value no table of constants can hold.
const KERNEL_MACROS: &str = include_str!("kernel.h");

type Obey = fn(&mut Files<'_>, &mut Expander, Span);

/// Directives by name.
const DIRECTIVES: &[(&str, Obey)] = &[
    ("define", define),
    ("undef", undef),
    ("include", include),
    ("include_next", include_next),
    ("if", if_),
    ("ifdef", ifdef),
    ("ifndef", ifndef),
    ("elif", other_group),
    ("elifdef", other_group),
    ("elifndef", other_group),
    ("else", other_group),
    ("endif", endif),
    ("error", error),
    ("warning", warning),
    ("pragma", ignore),
    ("line", ignore),
    ("ident", ignore),
    ("sccs", ignore),
];

impl Source for Files<'_> {
    fn token(&mut self, expander: &mut Expander) -> Token {
        loop {
            if self.stack.len() <= self.floor {
                return self.end();
            }
            let Some(open) = self.stack.last_mut() else { return Token::end(Span::default()) };
            let token = open.lexer.token(&mut expander.interner);
            if token.is_end() {
                if self.stack.len() == 1 {
                    return token;
                }
                self.close(expander);
            } else if token.first && token.is("#") {
                if let Some(pack) = self.directive(token.span, expander) {
                    return pack;
                }
            } else {
                return token;
            }
        }
    }

    fn place(&self, span: Span) -> (String, u32) {
        self.place_of(span)
    }

    fn constant(&mut self, name: &str) -> Option<String> {
        self.tables.constant(name)
    }
}

impl Files<'_> {
    /// Leaves the file on top.
    pub(super) fn close(&mut self, expander: &mut Expander) {
        let Some(open) = self.stack.pop() else { return };
        for condition in open.conditions {
            let problem = Diagnostic::error("E0501", "a condition is never closed");
            let help = "add `#endif`";
            expander.problems.push(problem.at(condition.span, "this needs an `#endif`").help(help));
        }
    }

    /// Obeys the directive whose `#` was just read. `#pragma pack` is passed on
    /// to the parser as a token.
    pub(super) fn directive(&mut self, hash: Span, expander: &mut Expander) -> Option<Token> {
        let level = self.stack.len();
        let name = self.in_line(expander);
        let span = hash.to(name.span);
        let mut pack = None;
        if name.kind == Kind::Ident {
            let text = expander.interner.text(name.text);
            match DIRECTIVES.iter().find(|row| row.0 == &*text) {
                Some(_) if &*text == "pragma" => pack = self.pragma_token(expander),
                Some((_, obey)) => obey(self, expander, span),
                None => unknown(expander, &text, span),
            }
        } else if !name.is_end() && name.kind != Kind::Number {
            let text = expander.interner.text(name.text);
            unknown(expander, &text, span);
        }
        // An include has put another file on top; its line is done, or done now.
        if let Some(open) = self.stack.get_mut(level.wrapping_sub(1)) {
            open.lexer.finish_line();
            if self.script && level == 1 {
                self.blanks.push((hash.start as usize, open.lexer.pos));
            }
        }
        pack
    }

    fn in_line(&mut self, expander: &mut Expander) -> Token {
        match self.stack.last_mut() {
            Some(open) => open.lexer.token_in_line(&mut expander.interner),
            None => Token::end(Span::default()),
        }
    }

    /// All tokens up to the end of the line.
    fn line(&mut self, expander: &mut Expander) -> Vec<Token> {
        let mut out = Vec::new();
        loop {
            let token = self.in_line(expander);
            if token.is_end() {
                return out;
            }
            out.push(token);
        }
    }

    /// `#pragma`: `once` and `pack` matter.
    fn pragma_token(&mut self, expander: &mut Expander) -> Option<Token> {
        let what = self.in_line(expander);
        let open = self.stack.last_mut()?;
        match &*expander.interner.text(what.text) {
            "once" => {
                self.state.once.insert(open.lexer.file);
                None
            }
            "pack" => {
                let (text, span) = open.lexer.rest_of_line();
                Some(Token::new(Kind::Pack, expander.interner.intern(&text), span))
            }
            _ => None,
        }
    }

    /// Skips groups of a condition until one is to be read, or `#endif`.
    fn skip_groups(&mut self, expander: &mut Expander) {
        let mut nested = 0_usize;
        let mut skim = if self.script && self.stack.len() == 1 { self.skim } else { Skim::new(false) };
        while let Some(hash) = self.next_directive(&mut skim) {
            let name = self.in_line(expander);
            let text = expander.interner.text(name.text);
            match &*text {
                "if" | "ifdef" | "ifndef" if name.kind == Kind::Ident => nested += 1,
                "endif" if nested > 0 => nested -= 1,
                "endif" => {
                    self.pop_condition();
                    return;
                }
                "else" | "elif" | "elifdef" | "elifndef"
                    if nested == 0 && self.group_begins(&text, hash.to(name.span), expander) =>
                {
                    return;
                }
                _ => {}
            }
        }
    }

    /// Moves behind the next `#` that starts its line.
    fn next_directive(&mut self, skim: &mut Skim) -> Option<Span> {
        let open = self.stack.last_mut()?;
        let lexer = &mut open.lexer;
        while let Some(&b) = lexer.text.as_bytes().get(lexer.pos) {
            if b == b'#' && skim.line_start {
                lexer.pos += 1;
                skim.line_start = false;
                return Some(Span::new(lexer.file, lexer.pos as u32 - 1, lexer.pos as u32));
            }
            lexer.pos = skim.step(&lexer.text, lexer.pos);
        }
        None
    }

    /// Whether the group behind this `#else` or `#elif` is to be read.
    fn group_begins(&mut self, name: &str, span: Span, expander: &mut Expander) -> bool {
        let Some(mut condition) = self.pop_condition() else { return false };
        if condition.last {
            let message = format!("`#{name}` after `#else`");
            let problem = Diagnostic::error("E0503", message).at(span, "the condition has its `#else` already");
            expander.problems.push(problem);
        }
        condition.last |= name == "else";
        let read = !condition.taken && (name == "else" || self.condition(name, span, expander));
        condition.taken |= read;
        self.push_condition(condition);
        read
    }

    fn push_condition(&mut self, condition: Condition) {
        if let Some(open) = self.stack.last_mut() {
            open.conditions.push(condition);
        }
    }

    fn pop_condition(&mut self) -> Option<Condition> {
        self.stack.last_mut()?.conditions.pop()
    }

    /// The truth of the condition on the rest of the line.
    fn condition(&mut self, name: &str, span: Span, expander: &mut Expander) -> bool {
        let tokens = self.line(expander);
        if let Some(negated) = match name {
            "ifdef" | "elifdef" => Some(false),
            "ifndef" | "elifndef" => Some(true),
            _ => None,
        } {
            let Some(first) = tokens.first().filter(|t| t.kind == Kind::Ident) else {
                let problem = Diagnostic::error("E0504", format!("`#{name}` needs the name of a macro"));
                expander.problems.push(problem.at(span, "no name follows"));
                return false;
            };
            return expander.find(first.text, self).is_some() != negated;
        }
        let end = tokens.last().map_or(span, |t| t.span);
        let prepared = self.answer_questions(tokens, expander);
        let tokens = expander.expand(prepared, self);
        let mut line = Line { tokens: &tokens, next: 0, end, expander, files: self };
        match line.value() {
            Ok(value) => value,
            Err(problem) => {
                expander.problems.push(*problem);
                false
            }
        }
    }

    /// Replaces `defined X`, `__has_include(...)` and the like by 0 or 1; they
    /// must be answered before macros are expanded.
    fn answer_questions(&mut self, tokens: Vec<Token>, expander: &mut Expander) -> Vec<Token> {
        let mut out = Vec::with_capacity(tokens.len());
        let mut i = 0;
        while let Some(&token) = tokens.get(i) {
            i += 1;
            let text = if token.kind == Kind::Ident { expander.interner.text(token.text) } else { "".into() };
            let argument = |from: usize| {
                let open = tokens.get(from).is_some_and(|t| t.is("("));
                let len = tokens[from..].iter().position(|t| t.is(")"));
                len.filter(|_| open).map(|len| (&tokens[from + 1..from + len], from + len + 1))
            };
            let answer = if is_defined(&token) {
                let (name, after) = match (argument(i), tokens.get(i)) {
                    (Some(([name], after)), _) => (*name, after),
                    (None, Some(name)) => (*name, i + 1),
                    _ => {
                        out.push(token);
                        continue;
                    }
                };
                i = after;
                expander.find(name.text, self).is_some() || is_question(&expander.interner.text(name.text))
            } else if is_question(&text) {
                let Some((inside, after)) = argument(i) else {
                    out.push(token);
                    continue;
                };
                i = after;
                text.starts_with("__has_include") && self.has_header(inside, expander)
            } else {
                out.push(token);
                continue;
            };
            out.push(Token {
                kind: Kind::Number,
                text: expander.interner.intern(if answer { "1" } else { "0" }),
                ..token
            });
        }
        out
    }

    fn has_header(&mut self, inside: &[Token], expander: &mut Expander) -> bool {
        let Some((name, quoted)) = self.header_name(inside, expander) else { return false };
        matches!(self.search(&name, quoted, 0), Found::File { .. }) || self.tables.oracle.has_header(&name)
    }

    /// `"name"` or `<name>`, spelled in tokens.
    fn header_name(&mut self, tokens: &[Token], expander: &mut Expander) -> Option<(String, bool)> {
        let first = tokens.first()?;
        if first.kind == Kind::Str {
            let text = expander.interner.text(first.text);
            return Some((text.trim_matches('"').to_string(), true));
        }
        if !first.is("<") {
            return None;
        }
        let end = tokens.iter().position(|t| t.is(">"))?;
        let name: String = tokens[1..end].iter().map(|t| expander.interner.text(t.text).to_string()).collect();
        Some((name, false))
    }

    /// A header that is no file: one of the kernel's or the system's, whose
    /// types BTF has and whose constants the tables have, or a mistake.
    fn no_file(&mut self, name: &str, quoted: bool, span: Span, expander: &mut Expander) {
        let known = self.tables.oracle.has_header(name);
        if known && !self.tables.headers.iter().any(|h| h == name) {
            self.tables.headers.push(name.to_string());
        }
        if known || !quoted {
            self.kernel_macros();
        }
        if known {
            return;
        }
        let problem = if quoted {
            Diagnostic::error("E0502", format!("cannot find the header `{name}`"))
                .at(span, "no such file")
                .help("name its directory with -I; it is looked for beside the including file, too")
        } else {
            Diagnostic::warning("W0502", format!("nothing is known about the header `{name}`"))
                .at(span, "its constants and macros are missing")
                .help("kernel types come from BTF without any header; for a header of your own name its directory with -I")
        };
        expander.problems.push(problem);
    }

    /// Defines, once, the macros that scripts expect of kernel headers.
    fn kernel_macros(&mut self) {
        if self.state.kernel_macros.is_some() {
            return;
        }
        let id = self.sources.add("<kernel macros>", None, KERNEL_MACROS.to_string());
        self.state.kernel_macros = Some(id);
        // The text is fixed and includes nothing: it always fits.
        let _ = self.enter(std::path::Path::new(""), id, KERNEL_MACROS.into(), None);
    }
}

/// Operators of conditions that ask about the compiler.
fn is_question(name: &str) -> bool {
    name.strip_prefix("__has_").is_some_and(|rest| {
        ["include", "include_next", "attribute", "builtin", "feature", "extension", "c_attribute", "cpp_attribute"]
            .contains(&rest)
    })
}

/// The tokens of an `#if` as an expression.
struct Line<'l, 'f, 's> {
    tokens: &'l [Token],
    next: usize,
    end: Span,
    expander: &'l mut Expander,
    files: &'f mut Files<'s>,
}

impl Line<'_, '_, '_> {
    fn value(&mut self) -> Parsed<bool> {
        let operand = constant::expression(self, 0)?;
        let rest = self.peek();
        if !rest.is_end() {
            let text = self.text(rest.text);
            return fail(format!("`{text}` does not belong into this condition"), &rest, "expected an operator");
        }
        match operand.number() {
            Ok(value) => Ok(value.value != 0),
            Err(why) => fail("the condition has no value", &Token::end(self.end), why.to_string()),
        }
    }
}

impl Operands for Line<'_, '_, '_> {
    fn peek(&mut self) -> Token {
        self.tokens.get(self.next).copied().unwrap_or(Token::end(self.end))
    }

    fn bump(&mut self) -> Token {
        let token = self.peek();
        self.next += 1;
        token
    }

    fn text(&self, sym: Sym) -> Rc<str> {
        self.expander.interner.text(sym)
    }

    fn least_width(&self) -> u32 {
        64
    }

    fn operand(&mut self, depth: usize) -> Parsed<Operand> {
        let token = self.bump();
        if token.is("(") {
            let inner = constant::expression(self, depth + 1)?;
            let close = self.bump();
            return if close.is(")") {
                Ok(inner)
            } else {
                fail("expected `)` in the condition", &close, "expected `)`")
            };
        }
        let text = self.text(token.text);
        if token.kind != Kind::Ident {
            return match constant::literal(&token, &text, 64) {
                Some(value) => Ok(value),
                None => fail("the condition is incomplete", &token, "expected a value"),
            };
        }
        // `defined` may also come out of a macro.
        if &*text == "defined" {
            let parenthesis = self.peek().is("(");
            if parenthesis {
                self.bump();
            }
            let name = self.bump();
            if parenthesis {
                self.bump();
            }
            let known = self.expander.find(name.text, self.files).is_some();
            return Ok(Operand::Int(constant::Value::int(i128::from(known))));
        }
        if is_question(&text) {
            while !self.bump().is(")") && !self.peek().is_end() {}
            return Ok(Operand::Int(constant::Value::int(0)));
        }
        if self.peek().is("(") {
            return fail(format!("`{text}` is no macro that could be called here"), &token, "not defined");
        }
        Ok(Operand::Int(constant::Value::int(i128::from(&*text == "true"))))
    }
}

fn unknown(expander: &mut Expander, name: &str, span: Span) {
    let message = format!("unknown directive `#{name}`");
    let mut problem = Diagnostic::error("E0505", message).at(span, "not a directive of the preprocessor");
    if let Some(similar) = nearest(name, DIRECTIVES.iter().map(|row| row.0)) {
        problem = problem.help(format!("did you mean `#{similar}`?"));
    }
    expander.problems.push(problem);
}

fn ignore(_: &mut Files<'_>, _: &mut Expander, _: Span) {}

fn define(files: &mut Files<'_>, expander: &mut Expander, span: Span) {
    let name = files.in_line(expander);
    if name.kind != Kind::Ident || is_defined(&name) {
        let problem = Diagnostic::error("E0504", "`#define` needs a name");
        expander.problems.push(problem.at(span.to(name.span), "this is no name"));
        return;
    }
    let mut line = files.line(expander);
    let takes_arguments = line.first().is_some_and(|t| t.is("(") && !t.space);
    let (mut params, mut variadic) = (None, false);
    if takes_arguments {
        match parameters(&line, expander) {
            Some((list, rest, len)) => {
                (params, variadic) = (Some(list), rest);
                line.drain(..len);
            }
            None => {
                let message = "the list of a macro's parameters is malformed";
                let help = "write names separated by commas, and `...` last";
                let problem = Diagnostic::error("E0506", message).at(name.span, "in this definition").help(help);
                expander.problems.push(problem);
                return;
            }
        }
    }
    expander.mark_variables(&mut line);
    let numbers = params.iter().flatten().enumerate().map(|(i, &p)| (p, i as u16)).collect::<HashMap<_, _>>();
    let body = line.into_iter().map(|token| {
        let param = if token.kind == Kind::Ident { numbers.get(&token.text).copied() } else { None };
        BodyToken { token: Token { first: false, ..token }, param }
    });
    let own = files.state.kernel_macros == Some(name.span.file);
    let new = Macro { params, variadic, body: body.collect(), span: (!own).then_some(name.span), dynamic: None };
    add_macro(expander, name, new, own);
}

fn add_macro(expander: &mut Expander, name: Token, new: Macro, own: bool) {
    let old = expander.macros.get(&name.text);
    if own && old.is_some() {
        return;
    }
    if let Some(before) = old.and_then(|old| old.span.filter(|_| !old.same_as(&new))) {
        let message = format!("the macro `{}` is defined again, differently", expander.interner.text(name.text));
        let problem = Diagnostic::warning("W0507", message)
            .at(name.span, "this definition counts from here on")
            .also(before, "defined here before")
            .help("put `#undef` between the two if that is meant");
        expander.problems.push(problem);
    }
    expander.define(name.text, new);
}

/// `(a, b, c...)`: the names, whether the last takes the rest, and the length.
fn parameters(line: &[Token], expander: &mut Expander) -> Option<(Vec<Sym>, bool, usize)> {
    let mut names = Vec::new();
    let mut i = 1;
    if line.get(i)?.is(")") {
        return Some((names, false, i + 1));
    }
    loop {
        let token = line.get(i)?;
        if token.is("...") {
            names.push(expander.interner.intern("__VA_ARGS__"));
            return line.get(i + 1)?.is(")").then_some((names, true, i + 2));
        }
        if token.kind != Kind::Ident || names.len() >= MOST_PARAMETERS || names.contains(&token.text) {
            return None;
        }
        names.push(token.text);
        let after = line.get(i + 1)?;
        if after.is(")") {
            return Some((names, false, i + 2));
        }
        if after.is("...") {
            return line.get(i + 2)?.is(")").then_some((names, true, i + 3));
        }
        if !after.is(",") {
            return None;
        }
        i += 2;
    }
}

fn undef(files: &mut Files<'_>, expander: &mut Expander, span: Span) {
    let name = files.in_line(expander);
    if name.kind == Kind::Ident {
        expander.undefine(name.text);
    } else {
        let problem = Diagnostic::error("E0504", "`#undef` needs the name of a macro");
        expander.problems.push(problem.at(span, "no name follows"));
    }
}

fn include(files: &mut Files<'_>, expander: &mut Expander, span: Span) {
    include_from(files, expander, span, 0);
}

fn include_next(files: &mut Files<'_>, expander: &mut Expander, span: Span) {
    let here = files.stack.last().and_then(|open| open.found_in);
    include_from(files, expander, span, here.map_or(0, |n| n + 1));
}

fn include_from(files: &mut Files<'_>, expander: &mut Expander, span: Span, from: usize) {
    let angled = files.stack.last_mut().and_then(|open| open.lexer.angled());
    let name = match angled {
        Some(name) => Some((name, false)),
        None => {
            let tokens = files.line(expander);
            let tokens = expander.expand(tokens, files);
            files.header_name(&tokens, expander)
        }
    };
    let end = files.end().span;
    let span = span.to(end);
    if let Some(open) = files.stack.last_mut() {
        open.lexer.finish_line();
    }
    let Some((name, quoted)) = name.filter(|(name, _)| !name.is_empty()) else {
        let problem = Diagnostic::error("E0504", "`#include` needs the name of a header");
        expander.problems.push(problem.at(span, "expected \"name\" or <name>"));
        return;
    };
    match files.search(&name, quoted, from) {
        Found::File { id, .. } if files.state.once.contains(&id) => {}
        Found::File { path, id, text, found_in } => {
            if let Err(why) = files.enter(&path, id, text, found_in) {
                let problem = Diagnostic::error("E0508", format!("cannot include `{name}`")).at(span, why);
                expander.problems.push(problem.help("does the header include itself?"));
            }
        }
        Found::Nothing => files.no_file(&name, quoted, span, expander),
        Found::Unusable(why) => {
            let problem = Diagnostic::error("E0508", format!("cannot include `{name}`")).at(span, why);
            expander.problems.push(problem);
        }
    }
}

fn if_(files: &mut Files<'_>, expander: &mut Expander, span: Span) {
    begin(files, expander, span, "if");
}

fn ifdef(files: &mut Files<'_>, expander: &mut Expander, span: Span) {
    begin(files, expander, span, "ifdef");
}

fn ifndef(files: &mut Files<'_>, expander: &mut Expander, span: Span) {
    begin(files, expander, span, "ifndef");
}

fn begin(files: &mut Files<'_>, expander: &mut Expander, span: Span, name: &str) {
    let taken = files.condition(name, span, expander);
    files.push_condition(Condition { span, taken, last: false });
    if !taken {
        files.skip_groups(expander);
    }
}

/// `#else` or `#elif` behind a group that was read: the others are skipped.
fn other_group(files: &mut Files<'_>, expander: &mut Expander, span: Span) {
    let Some(condition) = files.stack.last_mut().and_then(|open| open.conditions.last_mut()) else {
        let problem = Diagnostic::error("E0503", "`#else` or `#elif` without `#if`");
        expander.problems.push(problem.at(span, "no condition is open here"));
        return;
    };
    condition.taken = true;
    if condition.last {
        let problem = Diagnostic::error("E0503", "`#else` or `#elif` after `#else`");
        expander.problems.push(problem.at(span, "the condition has its `#else` already"));
    }
    files.skip_groups(expander);
}

fn endif(files: &mut Files<'_>, expander: &mut Expander, span: Span) {
    if files.pop_condition().is_none() {
        let problem = Diagnostic::error("E0503", "`#endif` without `#if`");
        expander.problems.push(problem.at(span, "no condition is open here"));
    }
}

fn error(files: &mut Files<'_>, expander: &mut Expander, span: Span) {
    if let Some(open) = files.stack.last_mut() {
        let (text, at) = open.lexer.rest_of_line();
        expander.problems.push(Diagnostic::error("E0509", format!("#error {text}")).at(span.to(at), ""));
    }
}

fn warning(files: &mut Files<'_>, expander: &mut Expander, span: Span) {
    if let Some(open) = files.stack.last_mut() {
        let (text, at) = open.lexer.rest_of_line();
        expander.problems.push(Diagnostic::warning("W0509", format!("#warning {text}")).at(span.to(at), ""));
    }
}
