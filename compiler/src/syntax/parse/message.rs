//! Words for what is wrong with a text.
//!
//! In: faults of the scanner, pest's furthest failure with the rules it tried,
//! bad literals. Out: `Diagnostic`s in the words of the language, never of the
//! grammar. Common mistakes are recognised by what stands around the failure.

use super::grammar::Rule;
use super::literal::NumberFault;
use super::scan::{Fault, ItemKind, MAX_NESTING};
use super::{MAX_DEPTH, MAX_SCRIPT};
use crate::diagnostic::Diagnostic;
use crate::span::Span;
use pest::error::{Error, ErrorVariant, InputLocation};
use std::ops::Range;

pub(super) fn too_large(at: Span, len: usize) -> Diagnostic {
    Diagnostic::error("E0101", format!("the script is too large: {len} bytes, at most {MAX_SCRIPT} are allowed"))
        .at(at, "")
}

pub(super) fn too_long(at: Span) -> Diagnostic {
    Diagnostic::error("E0102", format!("this is longer than {MAX_DEPTH} operators or branches"))
        .at(at, "")
        .help("store parts of it in variables, or use a map instead of a chain of conditions")
}

pub(super) fn fault(fault: &Fault, span: impl Fn(Range<usize>) -> Span) -> Diagnostic {
    match fault {
        Fault::UnterminatedString(r) => Diagnostic::error("E0103", "unterminated string")
            .at(span(r.clone()), "no closing `\"` on this line")
            .help("write a line break inside a string as `\\n`"),
        Fault::UnterminatedComment(at) => {
            Diagnostic::error("E0104", "unterminated comment").at(span(*at..at + 2), "no `*/` follows")
        }
        Fault::TooDeep(at) => Diagnostic::error("E0102", format!("nested more than {MAX_NESTING} levels deep"))
            .at(span(*at..at + 1), "one level too many"),
        Fault::Stray(at) => Diagnostic::error("E0106", "unexpected closing bracket")
            .at(span(*at..at + 1), "no bracket of its kind is open"),
        Fault::Unclosed { open, bracket, at, found } => {
            let (bracket, close) = (*bracket as char, closing(*bracket));
            let d = Diagnostic::error("E0105", format!("missing `{close}`"))
                .at(span(*open..open + 1), format!("this `{bracket}` is never closed"));
            match found {
                Some(found) => d.also(span(*at..at + 1), format!("`{}` comes first", *found as char)),
                None => d,
            }
        }
    }
}

fn closing(open: u8) -> char {
    match open {
        b'{' => '}',
        b'(' => ')',
        _ => ']',
    }
}

/// About a piece of text that is no item.
pub(super) fn no_item(kind: ItemKind, text: &str, span: Span) -> Diagnostic {
    let head = Span { end: span.end.min(span.start + 1), ..span };
    match kind {
        ItemKind::Function => Diagnostic::error("E0118", "functions cannot be defined")
            .at(Span { end: span.end.min(span.start + 2), ..span }, "")
            .help("write a macro instead: `macro name($a, b) { ... }`"),
        ItemKind::Directive => Diagnostic::error("E0107", "a preprocessor line cannot stand here")
            .at(span, "")
            .help("put it before the first probe, on lines of its own"),
        _ => {
            let c = text.chars().next().unwrap_or(' ');
            let d = Diagnostic::error("E0106", format!("unexpected `{c}`")).at(head, "belongs to nothing");
            if c == '}' { d.help("an earlier `}` has closed the block already") } else { d }
        }
    }
}

pub(super) fn out_of_order(kind: ItemKind, span: Span) -> Diagnostic {
    let (what, rule) = match kind {
        ItemKind::C => ("a C definition", "C definitions come first"),
        ItemKind::Config => ("the config block", "it comes after C definitions and before probes, macros and maps"),
        _ => ("an import", "imports come after C definitions and before probes, macros and maps"),
    };
    Diagnostic::error("E0130", format!("{what} cannot stand here")).at(first_bytes(span, 6), "too late").help(rule)
}

pub(super) fn second_config(span: Span, first: Span) -> Diagnostic {
    Diagnostic::error("E0131", "a second config block")
        .at(first_bytes(span, 6), "")
        .also(first_bytes(first, 6), "the first one")
        .help("put all settings into one block")
}

fn first_bytes(span: Span, n: u32) -> Span {
    Span { end: span.end.min(span.start + n), ..span }
}

pub(super) fn missing_operator(span: Span) -> Diagnostic {
    Diagnostic::error("E0110", "expected an operator between two values")
        .at(span, "a second value")
        .help("the word in parentheses names a value, so this is no cast")
}

pub(super) fn if_without_else(span: Span) -> Diagnostic {
    Diagnostic::error("E0117", "an `if` used as a value needs an `else`")
        .at(first_bytes(span, 2), "no value if the condition is false")
}

pub(super) fn inner_import(span: Span) -> Diagnostic {
    Diagnostic::error("E0119", "an import cannot stand inside a block")
        .at(span, "")
        .help("put it at the top of the script, before the first probe")
}

pub(super) fn number(text: &str, fault: &NumberFault, span: Span) -> Diagnostic {
    match fault {
        NumberFault::Overflow => Diagnostic::error("E0120", format!("the integer `{text}` is too large"))
            .at(span, "does not fit 64 bits")
            .help(format!("the largest one is {}", u64::MAX)),
        NumberFault::Float => Diagnostic::error("E0121", "floating-point is not supported")
            .at(span, "not an integer")
            .help("BPF has no floating-point numbers: scale the value and use integers"),
        NumberFault::NegativeExponent => Diagnostic::error("E0122", "a negative exponent makes no integer")
            .at(span, "")
            .help("`<m>e<n>` stands for the integer m * 10^n"),
        NumberFault::BadDigit(radix) => {
            let d = Diagnostic::error("E0123", format!("invalid digit in `{text}`"))
                .at(span, format!("digits of base {radix} only"));
            if *radix == 8 { d.help("a leading 0 makes an integer octal") } else { d }
        }
        NumberFault::BadSuffix(suffix) => Diagnostic::error("E0123", format!("malformed integer `{text}`"))
            .at(span, if suffix.is_empty() { "no digits".to_string() } else { format!("unknown suffix `{suffix}`") })
            .help("suffixes are u, l, ul, ll, ull and for durations ns, us, ms, s, m, h, d"),
    }
}

pub(super) fn escape(what: &str, sequence: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0124", format!("invalid escape sequence `{sequence}`"))
        .at(span, what)
        .help("known are \\n \\t \\r \\a \\b \\f \\v \\e \\\\ \\\" \\', \\nnn (octal) and \\xnn (hexadecimal)")
}

pub(super) fn character(text: &str, span: Span) -> Diagnostic {
    let d = Diagnostic::error("E0125", format!("{text} is not a single byte")).at(span, "");
    d.help("strings are written in double quotes")
}

pub(super) fn positional(text: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0126", format!("there is no parameter `{text}`")).at(span, "they count from `$1`")
}

/// Offset at which the grammar failed.
pub(super) fn position(error: &Error<Rule>) -> usize {
    match error.location {
        InputLocation::Pos(p) => p,
        InputLocation::Span((p, _)) => p,
    }
}

/// A failure of the grammar.
pub(super) fn syntax(error: &Error<Rule>, item: Rule, text: &str, span: impl Fn(Range<usize>) -> Span) -> Diagnostic {
    let positives: &[Rule] = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => positives,
        ErrorVariant::CustomError { .. } => &[],
    };
    let failure = Failure::new(text, position(error), positives);
    let at = span(failure.token.clone());
    let behind = span(failure.before.end.saturating_sub(1).max(failure.before.start)..failure.before.end);
    for recognise in RECOGNISED {
        if let Some(mistake) = recognise(&failure) {
            let place = if mistake.behind { behind } else { at };
            let d = Diagnostic::error(mistake.code, mistake.message).at(place, mistake.label);
            return if mistake.help.is_empty() { d } else { d.help(mistake.help) };
        }
    }
    let d = Diagnostic::error("E0110", format!("expected {}, found {}", failure.expected(), failure.found()));
    let d = d.at(at, "");
    match item {
        Rule::item_probe if failure.before.is_empty() => {
            d.help("a probe looks like `kprobe:vfs_read /pid == 1/ { ... }`")
        }
        _ => d,
    }
}

/// Where the grammar stopped and what stands around.
struct Failure<'t> {
    text: &'t str,
    /// What was found; empty at the end.
    token: Range<usize>,
    /// The token in front of it.
    before: Range<usize>,
    positives: &'t [Rule],
}

/// A mistake that was recognised.
#[derive(Default)]
struct Mistake {
    code: &'static str,
    message: String,
    label: String,
    help: String,
    /// Point behind the token before.
    behind: bool,
}

type Recogniser = fn(&Failure<'_>) -> Option<Mistake>;

/// Tried in order; the first that fits words the message.
const RECOGNISED: [Recogniser; 13] = [
    directive,
    c_style_for,
    assignment_as_value,
    word_operator,
    else_without_if,
    c_declaration,
    map_in_block,
    comma_in_config,
    call_without_parens,
    reserved_word,
    open_predicate,
    no_block,
    missing_semicolon,
];

impl<'t> Failure<'t> {
    fn new(text: &'t str, at: usize, positives: &'t [Rule]) -> Self {
        let start = skip_layout(text, at);
        let token = start..token_end(text, start);
        let head = text.get(..at).unwrap_or("").trim_end();
        let before = token_start(head)..head.len();
        Failure { text, token, before, positives }
    }

    fn token(&self) -> &'t str {
        self.text.get(self.token.clone()).unwrap_or("")
    }

    fn before(&self) -> &'t str {
        self.text.get(self.before.clone()).unwrap_or("")
    }

    fn wants(&self, rule: Rule) -> bool {
        self.positives.contains(&rule)
    }

    fn wants_operand(&self) -> bool {
        self.positives.iter().any(|r| matches!(phrase(*r), Some((_, "an expression"))))
    }

    /// Does the token stand on a later line than the one before?
    fn new_line(&self) -> bool {
        self.text.get(self.before.end..self.token.start).is_some_and(|gap| gap.contains('\n'))
    }

    fn found(&self) -> String {
        let token = self.token();
        match token.chars().next() {
            None => "the end of it".to_string(),
            Some('"') => "a string".to_string(),
            Some(c) if c.is_control() => format!("the character {c:?}"),
            Some(_) => format!("`{}`", token.chars().take(40).collect::<String>()),
        }
    }

    /// The expected things in words, the most telling first.
    fn expected(&self) -> String {
        let starts_operand = |r: &&Rule| OPERANDS.contains(*r);
        let operand = self.positives.iter().filter(starts_operand).count() > 2;
        let named = self.positives.iter().filter(|r| !operand || !starts_operand(r));
        let mut phrases: Vec<(u8, &str)> = named.filter_map(|r| phrase(*r)).collect();
        if operand {
            phrases.push((4, "an expression"));
        }
        phrases.sort_unstable();
        phrases.dedup();
        let mut words: Vec<&str> = phrases.into_iter().map(|(_, w)| w).collect();
        words.truncate(5);
        match words.split_last() {
            None => "something else".to_string(),
            Some((last, [])) => last.to_string(),
            Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        }
    }
}

/// What an expression may start with: several of these together are one.
const OPERANDS: [Rule; 14] = [
    Rule::number,
    Rule::string,
    Rule::character,
    Rule::identifier,
    Rule::any_word,
    Rule::variable,
    Rule::map,
    Rule::positional,
    Rule::lparen,
    Rule::lbrace,
    Rule::block,
    Rule::paren,
    Rule::prefix_op,
    Rule::name_or_call,
];

/// What a rule is called, and how far in front it stands in a list.
fn phrase(rule: Rule) -> Option<(u8, &'static str)> {
    Some(match rule {
        Rule::semi => (0, "`;`"),
        Rule::rparen => (1, "`)`"),
        Rule::rbracket => (1, "`]`"),
        Rule::rbrace => (2, "`}`"),
        Rule::lparen => (1, "`(`"),
        Rule::lbrace => (1, "`{`"),
        Rule::block => (1, "a block `{ ... }`"),
        Rule::lbracket => (8, "`[`"),
        Rule::comma => (3, "`,`"),
        Rule::colon => (3, "`:`"),
        Rule::equals => (3, "`=`"),
        Rule::dots => (3, "`..`"),
        Rule::slash => (0, "`/`"),
        Rule::attach_point | Rule::attach_provider | Rule::attach_label | Rule::probe | Rule::provider_text => {
            (4, "a probe such as `kprobe:vfs_read`")
        }
        Rule::predicate => (5, "a predicate `/.../`"),
        Rule::variable => (4, "a variable `$name`"),
        Rule::map => (4, "a map `@name`"),
        Rule::string => (4, "a string"),
        Rule::number | Rule::tuple_index => (4, "a number"),
        Rule::identifier | Rule::any_word => (4, "a name"),
        Rule::type_name | Rule::type_words | Rule::tag_type | Rule::cast_type => (4, "a type"),
        Rule::expr
        | Rule::condition
        | Rule::operand
        | Rule::prefix_op
        | Rule::name_or_call
        | Rule::paren
        | Rule::type_or_expr
        | Rule::kw_comptime => (4, "an expression"),
        Rule::infix | Rule::index | Rule::member | Rule::step | Rule::question => (6, "an operator"),
        Rule::assign_op => (5, "an assignment"),
        Rule::effect | Rule::let_statement => (4, "a statement"),
        Rule::config_entry => (4, "a setting"),
        Rule::kw_else => (7, "`else`"),
        _ => return None,
    })
}

const KEYWORDS: [&str; 21] = [
    "break", "continue", "comptime", "else", "enum", "false", "for", "if", "import", "let", "macro", "offsetof",
    "return", "sizeof", "struct", "true", "typeinfo", "typeof", "union", "unroll", "while",
];

fn mistake(code: &'static str, message: impl Into<String>, label: &str, help: impl Into<String>) -> Option<Mistake> {
    Some(Mistake { code, message: message.into(), label: label.into(), help: help.into(), behind: false })
}

fn directive(f: &Failure<'_>) -> Option<Mistake> {
    if f.token() != "#" {
        return None;
    }
    mistake("E0107", "a preprocessor line cannot stand here", "", "put it before the first probe, on a line of its own")
}

/// `int x = 1`.
fn c_declaration(f: &Failure<'_>) -> Option<Mistake> {
    const TYPES: [&str; 18] = [
        "int", "long", "short", "char", "unsigned", "string", "bool", "auto", "var", "int8", "int16", "int32", "int64",
        "uint8", "uint16", "uint32", "uint64", "u64",
    ];
    if !f.wants(Rule::semi) || f.new_line() || !TYPES.contains(&f.before()) || !f.token().starts_with(is_word) {
        return None;
    }
    let help = format!("write `let ${} : {} = ...;`", f.token(), f.before());
    mistake("E0110", "variables start with `$` and are declared with `let`", "", help)
}

/// `let @m = ...` inside a block.
fn map_in_block(f: &Failure<'_>) -> Option<Mistake> {
    if f.before() != "let" || !f.token().starts_with('@') || !f.wants(Rule::variable) {
        return None;
    }
    mistake(
        "E0110",
        "maps are not declared inside blocks",
        "",
        "assign to it, or put the declaration outside of the probes",
    )
}

/// `config = { a = 1, b = 2 }`.
fn comma_in_config(f: &Failure<'_>) -> Option<Mistake> {
    if f.token() != "," || !f.text.starts_with("config") || !f.wants(Rule::semi) {
        return None;
    }
    mistake("E0110", "expected `;`, found `,`", "", "settings are separated by semicolons")
}

/// `for (i = 0; i < n; i++)`.
fn c_style_for(f: &Failure<'_>) -> Option<Mistake> {
    let head = f.text.get(..f.token.start)?;
    let start = head.rfind("for")?;
    let inside = head[start + 3..].trim_start().strip_prefix('(')?;
    let loop_head = f.text[start..].split('{').next().unwrap_or("");
    if inside.contains([')', '{', '}']) || !loop_head.contains(';') {
        return None;
    }
    mistake(
        "E0113",
        "`for` loops run over a range or a map",
        "",
        "write `for ($i : 0..10) { ... }` or `for ($kv : @map) { ... }`",
    )
}

/// `if ($x = 1)`.
fn assignment_as_value(f: &Failure<'_>) -> Option<Mistake> {
    if !f.token().starts_with('=') || f.token().starts_with("==") || !f.wants(Rule::infix) {
        return None;
    }
    mistake("E0112", "an assignment has no value", "not possible here", "to compare, write `==`")
}

/// `a and b`, `elif`.
fn word_operator(f: &Failure<'_>) -> Option<Mistake> {
    let head = f.text.get(..f.token.start)?;
    let branch = ["elif", "elsif", "elseif"].iter().filter_map(|w| head.rfind(w).map(|i| (i, w))).max();
    let branch = branch.filter(|(at, _)| head[..*at].trim_end().ends_with('}') && !head[*at..].contains(['{', ';']));
    if let Some((_, word)) = branch.filter(|_| f.token() == "{") {
        return mistake("E0110", format!("there is no `{word}`"), "", "write `else if`");
    }
    let help = match f.token() {
        "and" => "write `&&`",
        "or" => "write `||`",
        "not" => "write `!`",
        "elif" | "elsif" | "elseif" => "write `else if`",
        _ => return None,
    };
    mistake("E0110", format!("unexpected `{}`", f.token()), "", help)
}

fn else_without_if(f: &Failure<'_>) -> Option<Mistake> {
    if f.token() != "else" {
        return None;
    }
    mistake("E0110", "`else` without `if`", "", "no `;` may stand between `}` and `else`")
}

/// `printf "hello"`.
fn call_without_parens(f: &Failure<'_>) -> Option<Mistake> {
    let is_name = f.before().starts_with(|c: char| c.is_ascii_alphabetic()) && !KEYWORDS.contains(&f.before());
    if !is_name || !f.token().starts_with('"') || f.new_line() || !f.wants(Rule::infix) {
        return None;
    }
    mistake("E0110", "expected `(`, found a string", "", format!("write `{}(...)`", f.before()))
}

fn reserved_word(f: &Failure<'_>) -> Option<Mistake> {
    let wanted = f.wants_operand() || f.wants(Rule::identifier);
    if !KEYWORDS.contains(&f.token()) || !wanted || f.wants(Rule::semi) {
        return None;
    }
    mistake("E0116", format!("`{}` is a reserved word", f.token()), "cannot be used as a value or name here", "")
}

/// `kprobe:f /pid == 1 {`.
fn open_predicate(f: &Failure<'_>) -> Option<Mistake> {
    if !f.wants(Rule::slash) {
        return None;
    }
    let mut m =
        mistake("E0114", "the predicate does not end", "expected `/` here", "a predicate is written `/condition/`")?;
    m.behind = true;
    Some(m)
}

fn no_block(f: &Failure<'_>) -> Option<Mistake> {
    if !(f.wants(Rule::block) || f.wants(Rule::lbrace)) || f.wants_operand() {
        return None;
    }
    if f.wants(Rule::predicate) || f.wants(Rule::slash) {
        let found = if f.token.is_empty() { String::new() } else { format!(", found {}", f.found()) };
        return mistake("E0115", format!("expected the probe's block `{{ ... }}`{found}"), "", "");
    }
    let help = if f.token.is_empty() { "" } else { "the braces cannot be left out" };
    mistake("E0110", format!("expected a block `{{ ... }}`, found {}", f.found()), "", help)
}

fn missing_semicolon(f: &Failure<'_>) -> Option<Mistake> {
    let starts_statement =
        f.token().starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '$' | '@' | '"' | '_' | '{'));
    if !f.wants(Rule::semi) || !starts_statement || f.before.is_empty() {
        return None;
    }
    let mut m = mistake("E0111", format!("expected `;`, found {}", f.found()), "add `;` here", "")?;
    m.behind = true;
    Some(m)
}

/// Behind blanks and comments.
fn skip_layout(text: &str, mut at: usize) -> usize {
    loop {
        let Some(rest) = text.get(at..) else { return text.len() };
        let trimmed = rest.trim_start();
        at += rest.len() - trimmed.len();
        let len = if trimmed.starts_with("//") {
            trimmed.find('\n').unwrap_or(trimmed.len())
        } else if trimmed.starts_with("/*") {
            trimmed.find("*/").map_or(trimmed.len(), |i| i + 2)
        } else {
            return at;
        };
        at += len;
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// End of the token that starts at `at`.
fn token_end(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or("");
    let Some(first) = rest.chars().next() else { return at };
    let len = match first {
        '"' => rest[1..].find(['"', '\n']).map_or(rest.len(), |i| i + 2),
        '$' | '@' => 1 + rest[1..].find(|c| !is_word(c)).unwrap_or(rest.len() - 1),
        c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
        c => {
            const DOUBLE: [&str; 16] =
                ["==", "!=", "<=", ">=", "&&", "||", "<<", ">>", "++", "--", "->", "..", "+=", "-=", "*=", "|="];
            if DOUBLE.iter().any(|d| rest.starts_with(d)) { 2 } else { c.len_utf8() }
        }
    };
    at + len
}

/// Start of the token that ends the text.
fn token_start(head: &str) -> usize {
    let Some(last) = head.chars().next_back() else { return 0 };
    if !is_word(last) {
        return head.len() - last.len_utf8();
    }
    let word = head.trim_end_matches(is_word);
    word.len() - usize::from(word.ends_with(['$', '@']))
}
