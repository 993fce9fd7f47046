//! Script text to syntax tree.
//!
//! In: the text, with its preprocessor lines blanked out, and a predicate that
//! says which lone words are values (that decides `(word) - 1`). Out: the tree,
//! or messages: several of them where several independent things are wrong.
//! Invariants: no input makes it panic or overflow the stack, time is linear in
//! the length, and the tree is at most [`MAX_DEPTH`] levels deep. Steps: `scan`
//! cuts the text into items, `grammar.pest` parses each, `items`, `statement`,
//! `expr`, `types` and `literal` build the tree, `message` words what failed.
//!
//! | Code  | Meaning |
//! |-------|---------|
//! | E0101 | the script is too large |
//! | E0102 | nested too deeply, or too long an expression |
//! | E0103 | a string without end |
//! | E0104 | a comment without end |
//! | E0105 | an opening bracket without its closing one |
//! | E0106 | something that belongs to no item, such as a stray `}` |
//! | E0107 | a preprocessor line in the middle of an item |
//! | E0110 | something else was expected here |
//! | E0111 | a missing semicolon |
//! | E0112 | an assignment where a value is wanted |
//! | E0113 | a `for` loop in the style of C |
//! | E0114 | a predicate without its closing slash |
//! | E0115 | a probe without its block |
//! | E0116 | a reserved word used as a name |
//! | E0117 | an `if` used as a value without `else` |
//! | E0118 | a function definition |
//! | E0119 | an import inside a block |
//! | E0120 | an integer that does not fit 64 bits |
//! | E0121 | a floating-point number |
//! | E0122 | a negative exponent |
//! | E0123 | a malformed integer |
//! | E0124 | an unknown escape sequence, or one out of range |
//! | E0125 | a malformed character constant |
//! | E0126 | a positional parameter out of range |
//! | E0130 | items in the wrong order |
//! | E0131 | a second config block |

mod expr;
mod items;
mod literal;
mod message;
mod scan;
mod statement;
mod types;

/// The parser that pest makes from the grammar.
#[allow(missing_docs)]
mod grammar {
    #[derive(pest_derive::Parser)]
    #[grammar = "syntax/grammar.pest"]
    pub(super) struct Grammar;
}

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::span::{FileId, Span};
use crate::syntax::ast::{Expr, ExprKind, Item, Script};
use grammar::{Grammar, Rule};
use pest::Parser as _;
use scan::{ItemKind, RawItem};
use std::cell::Cell;
use std::collections::BTreeSet;

type Pair<'i> = pest::iterators::Pair<'i, Rule>;

/// Longest script, in bytes. Programs anywhere near it load on no kernel.
pub const MAX_SCRIPT: usize = 1 << 20;

/// Deepest tree: long chains of operators or `else if` nest in the tree though
/// they do not in the text. Stages that recurse over the tree should run
/// [`on_deep_stack`].
pub const MAX_DEPTH: usize = 12_000;

/// Messages about syntax after which parsing gives up.
const MAX_ERRORS: usize = 20;

/// Items longer than this are not searched for a second error.
const MAX_RETRIED_ITEM: usize = 64 << 10;

/// Stack of the thread that parses.
const STACK_SIZE: usize = 256 << 20;

/// What the parser must know that the text does not tell.
pub struct ParseOptions<'a> {
    /// Is this word a value (a builtin, a macro, an enumerator, a `#define`)?
    /// Others make `(word) -1` a cast. Macros of the script itself are known.
    pub is_value: &'a dyn Fn(&str) -> bool,
}

impl Default for ParseOptions<'_> {
    fn default() -> Self {
        ParseOptions { is_value: &|_| false }
    }
}

/// Parses a script or an imported file. Returns the tree if there were no errors.
pub fn parse_script(
    file: FileId,
    text: &str,
    options: &ParseOptions<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Script> {
    if text.len() > MAX_SCRIPT {
        diagnostics.push(message::too_large(Span::new(file, 0, 0), text.len()));
        return None;
    }
    let values = value_words(text, options);
    let (script, found) = on_deep_stack(|| script(file, text, &values));
    finish(script, found, diagnostics)
}

/// Parses a text that stands for one expression, such as the replacement of a
/// macro; every node gets the place `at`.
pub fn parse_expression(
    text: &str,
    at: Span,
    options: &ParseOptions<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Expr> {
    if text.len() > MAX_SCRIPT {
        diagnostics.push(message::too_large(at, text.len()));
        return None;
    }
    let values = value_words(text, options);
    let (expr, found) = on_deep_stack(|| lone_expression(text, at, &values));
    finish(expr, found, diagnostics)
}

thread_local! {
    static IS_DEEP: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is one of [`on_deep_stack`].
pub fn is_deep_stack() -> bool {
    IS_DEEP.get()
}

/// Runs `f` on a thread whose stack is large enough to recurse over any tree.
pub fn on_deep_stack<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("syntax".into()).stack_size(STACK_SIZE);
        let marked = || {
            IS_DEEP.set(true);
            f()
        };
        let thread = builder.spawn_scoped(scope, marked).expect("the system can start a thread");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn finish<T>(result: T, found: Vec<Diagnostic>, diagnostics: &mut Diagnostics) -> Option<T> {
    let failed = found.iter().any(Diagnostic::is_error);
    for d in found {
        diagnostics.push(d);
    }
    (!failed).then_some(result)
}

/// The distinct words of the text that are values.
fn value_words(text: &str, options: &ParseOptions<'_>) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let mut words: Vec<&str> =
        words.filter(|w| !w.is_empty() && !w.starts_with(|c: char| c.is_ascii_digit())).collect();
    words.sort_unstable();
    words.dedup();
    words.into_iter().filter(|w| (options.is_value)(w)).map(str::to_string).collect()
}

fn script(file: FileId, text: &str, values: &BTreeSet<String>) -> (Script, Vec<Diagnostic>) {
    let outline = scan::outline(text);
    let mut values = values.clone();
    values.extend(macro_names(text, &outline.items));
    let mut b = Builder::new(Place::Offset { file, base: 0 }, &values);
    for fault in outline.faults.iter().take(MAX_ERRORS) {
        b.found.push(message::fault(fault, |r| b.place.span(r)));
    }
    let mut script = Script::default();
    items::check_order(&mut b, &outline.items);
    for raw in outline.items.iter().filter(|i| !i.broken) {
        if b.found.len() >= MAX_ERRORS {
            break;
        }
        script.items.extend(parse_item(&mut b, text, raw));
    }
    (script, b.found)
}

/// Names of the macros that the script defines.
fn macro_names(text: &str, items: &[RawItem]) -> BTreeSet<String> {
    let macros = items.iter().filter(|i| i.kind == ItemKind::Macro);
    let name = |i: &RawItem| {
        let rest = text[i.range.clone()].strip_prefix("macro")?.trim_start();
        Some(rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect())
    };
    macros.filter_map(name).collect()
}

/// Parses one item, or reports what is wrong with it.
fn parse_item(b: &mut Builder<'_>, text: &str, raw: &RawItem) -> Option<Item> {
    let whole = raw.range.clone();
    let rule = match raw.kind {
        ItemKind::C => Rule::item_c,
        ItemKind::Config => Rule::item_config,
        ItemKind::Import => Rule::item_import,
        ItemKind::Map => Rule::item_map,
        ItemKind::Macro => Rule::item_macro,
        ItemKind::Probe => Rule::item_probe,
        ItemKind::Function | ItemKind::Directive | ItemKind::Stray => {
            let span = b.place.span(whole.clone());
            b.found.push(message::no_item(raw.kind, &text[whole], span));
            return None;
        }
    };
    b.place.rebase(whole.start);
    let item = match Grammar::parse(rule, &text[whole.clone()]) {
        Ok(mut pairs) => pairs.next().and_then(|pair| b.item(pair, text)),
        Err(error) => {
            report_all(b, rule, &text[whole], error);
            None
        }
    };
    b.place.rebase(0);
    item
}

/// Reports a syntax error, blanks out the statement it is in and looks for the
/// next one.
fn report_all(b: &mut Builder<'_>, rule: Rule, text: &str, error: pest::error::Error<Rule>) {
    let mut text = text.to_string();
    let mut next = Some(error);
    while let Some(error) = next.take() {
        let at = message::position(&error);
        b.found.push(message::syntax(&error, rule, &text, |r| b.place.span(r)));
        if b.found.len() >= MAX_ERRORS || text.len() > MAX_RETRIED_ITEM {
            return;
        }
        let Some(range) = scan::statement_around(&text, at) else { return };
        let Some(broken) = text.get(range.clone()) else { return };
        if broken.trim().is_empty() {
            return;
        }
        let blank: String = broken.bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect();
        text.replace_range(range, &blank);
        next = Grammar::parse(rule, &text).err();
    }
}

fn lone_expression(text: &str, at: Span, values: &BTreeSet<String>) -> (Expr, Vec<Diagnostic>) {
    let mut b = Builder::new(Place::Fixed(at), values);
    for fault in scan::check_expression(text) {
        b.found.push(message::fault(&fault, |_| at));
    }
    let mut expr = Expr { kind: ExprKind::Tuple(Vec::new()), span: at };
    if b.found.is_empty() {
        match Grammar::parse(Rule::lone_expr, text) {
            Ok(mut pairs) => {
                if let Some(pair) = pairs.next() {
                    expr = b.expr(pair);
                }
            }
            Err(error) => b.found.push(message::syntax(&error, Rule::lone_expr, text, |_| at)),
        }
    }
    (expr, b.found)
}

/// How offsets in the parsed text become spans.
#[derive(Clone, Copy)]
enum Place {
    /// The text is that of `file` from `base` on.
    Offset { file: FileId, base: usize },
    /// The text is a replacement for what stands here.
    Fixed(Span),
}

impl Place {
    fn rebase(&mut self, to: usize) {
        if let Place::Offset { base, .. } = self {
            *base = to;
        }
    }

    fn span(&self, range: std::ops::Range<usize>) -> Span {
        match *self {
            Place::Offset { file, base } => Span::new(file, (base + range.start) as u32, (base + range.end) as u32),
            Place::Fixed(span) => span,
        }
    }
}

/// Builds the tree from what the grammar recognised.
struct Builder<'a> {
    place: Place,
    /// Words that are values.
    values: &'a BTreeSet<String>,
    found: Vec<Diagnostic>,
    /// Levels of the tree above the node that is being built.
    level: usize,
    /// The limit has been reported.
    too_deep: bool,
}

impl<'a> Builder<'a> {
    fn new(place: Place, values: &'a BTreeSet<String>) -> Self {
        Builder { place, values, found: Vec::new(), level: 0, too_deep: false }
    }

    fn span(&self, pair: &Pair<'_>) -> Span {
        let s = pair.as_span();
        self.place.span(s.start()..s.end())
    }

    /// Runs `f` with `levels` more levels above it; `None`, with a message, if
    /// that makes the tree too deep.
    fn deeper<T>(&mut self, levels: usize, span: Span, f: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.level + levels > MAX_DEPTH {
            if !std::mem::replace(&mut self.too_deep, true) {
                self.found.push(message::too_long(span));
            }
            return None;
        }
        self.level += levels;
        let result = f(self);
        self.level -= levels;
        Some(result)
    }
}

/// A punctuation mark, which only messages need?
fn is_mark(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::lparen
            | Rule::rparen
            | Rule::lbracket
            | Rule::rbracket
            | Rule::lbrace
            | Rule::rbrace
            | Rule::comma
            | Rule::colon
            | Rule::semi
            | Rule::dots
            | Rule::dot
            | Rule::equals
            | Rule::slash
    )
}

/// The parts of a node without punctuation marks.
fn parts(pair: Pair<'_>) -> impl Iterator<Item = Pair<'_>> {
    pair.into_inner().filter(|p| !is_mark(p.as_rule()))
}

#[cfg(test)]
mod tests;
