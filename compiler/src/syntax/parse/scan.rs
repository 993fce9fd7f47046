//! Cuts a script into its top-level items and counts how deeply brackets nest.
//!
//! In: the text. Out: the items with their kinds and ranges, and messages about
//! what no grammar can repair: texts and comments without end, brackets without
//! partner, nesting that would exhaust the stack of later stages.
//! Invariants: one pass, no recursion, memory linear in the nesting; the ranges
//! are disjoint, ascending and on character boundaries. An item about which a
//! message was given is `broken`, so that nothing is reported twice.

use std::ops::Range;

/// Brackets, `if`s without their block and `?`s without their `:` that may be
/// open at once. Later stages recurse once per level.
pub(super) const MAX_NESTING: usize = 256;

/// Kinds of top-level items, told apart by their first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemKind {
    C,
    Config,
    Import,
    Map,
    Macro,
    Function,
    Directive,
    Stray,
    Probe,
}

/// A top-level item.
#[derive(Clone, Debug)]
pub(super) struct RawItem {
    pub(super) kind: ItemKind,
    pub(super) range: Range<usize>,
    /// A message about it has been given already.
    pub(super) broken: bool,
}

/// What the scanner complains about; `parse/message.rs` words it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fault {
    UnterminatedString(Range<usize>),
    UnterminatedComment(usize),
    TooDeep(usize),
    Stray(usize),
    Unclosed { open: usize, bracket: u8, at: usize, found: Option<u8> },
}

/// Result of the scan.
#[derive(Debug, Default)]
pub(super) struct Outline {
    pub(super) items: Vec<RawItem>,
    pub(super) faults: Vec<Fault>,
}

/// What ends a piece of text that is scanned with its brackets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The bracket that closes the one it begins with.
    Group,
    /// The slash before `{`.
    Predicate,
    /// A semicolon outside of brackets.
    Semicolon,
}

/// An open bracket.
struct Open {
    at: usize,
    bracket: u8,
    /// `if`s and `?`s inside it that wait for their block or colon.
    ifs: usize,
    questions: usize,
}

struct Scanner<'a> {
    text: &'a [u8],
    pos: usize,
    faults: Vec<Fault>,
}

/// Cuts `text` into items.
pub(super) fn outline(text: &str) -> Outline {
    let mut s = Scanner { text: text.as_bytes(), pos: 0, faults: Vec::new() };
    let mut items = Vec::new();
    if let Some(line) = crate::syntax::shebang(text) {
        s.pos = line.end;
    }
    loop {
        s.layout();
        while s.here() == b';' {
            s.pos += 1;
            s.layout();
        }
        let start = s.pos;
        if start >= s.text.len() {
            break;
        }
        let faults = s.faults.len();
        let kind = s.item();
        if s.pos <= start {
            s.pos = start + 1;
        }
        while !text.is_char_boundary(s.pos) {
            s.pos += 1;
        }
        let end = start + text[start..s.pos].trim_end().len();
        keep_causes(&mut s.faults, faults);
        items.push(RawItem { kind, range: start..end, broken: s.faults.len() > faults });
    }
    Outline { items, faults: s.faults }
}

/// A string or comment without end swallows brackets: what is missing because
/// of that is not worth a message.
fn keep_causes(faults: &mut Vec<Fault>, from: usize) {
    let unterminated = |f: &Fault| matches!(f, Fault::UnterminatedString(_) | Fault::UnterminatedComment(_));
    if faults[from..].iter().any(unterminated) {
        let of_item = faults.split_off(from);
        faults.extend(of_item.into_iter().filter(unterminated));
    }
}

/// Checks the brackets of a text that is one expression.
pub(super) fn check_expression(text: &str) -> Vec<Fault> {
    let mut s = Scanner { text: text.as_bytes(), pos: 0, faults: Vec::new() };
    while s.pos < s.text.len() && s.faults.is_empty() {
        let before = s.pos;
        s.balanced(Stop::Semicolon);
        s.pos = s.pos.max(before + 1);
    }
    s.faults
}

impl Scanner<'_> {
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    fn here(&self) -> u8 {
        self.byte(self.pos)
    }

    fn line_end(&mut self) {
        while self.pos < self.text.len() && self.here() != b'\n' {
            self.pos += 1;
        }
    }

    /// Skips blanks and comments.
    fn layout(&mut self) {
        loop {
            match (self.here(), self.byte(self.pos + 1)) {
                (b, _) if b.is_ascii_whitespace() || b == 0x0b => self.pos += 1,
                (b'/', b'/') => self.line_end(),
                (b'/', b'*') => self.comment(),
                _ => return,
            }
            if self.pos >= self.text.len() {
                return;
            }
        }
    }

    fn comment(&mut self) {
        let rest = &self.text[self.pos + 2..];
        match rest.windows(2).position(|w| w == b"*/") {
            Some(i) => self.pos += i + 4,
            None => {
                self.faults.push(Fault::UnterminatedComment(self.pos));
                self.pos = self.text.len();
            }
        }
    }

    /// Skips a string; it ends with its line at the latest.
    fn string(&mut self) {
        let start = self.pos;
        self.pos += 1;
        while self.pos < self.text.len() {
            match self.here() {
                b'"' => {
                    self.pos += 1;
                    return;
                }
                b'\n' => break,
                b'\\' if self.byte(self.pos + 1) != b'\n' => self.pos += 2,
                _ => self.pos += 1,
            }
        }
        self.pos = self.pos.min(self.text.len());
        self.faults.push(Fault::UnterminatedString(start..self.pos));
    }

    /// Skips a character constant, so that `'"'` opens no string.
    fn character(&mut self) {
        let escaped = self.byte(self.pos + 1) == b'\\';
        let first = self.pos + if escaped { 3 } else { 2 };
        let close = (first..first + 4).find(|&i| self.byte(i) == b'\'');
        self.pos = close.map_or(self.pos + 1, |i| i + 1);
    }

    fn word(&self, at: usize) -> &[u8] {
        let end = (at..self.text.len()).find(|&i| !is_word(self.text[i])).unwrap_or(self.text.len());
        &self.text[at..end]
    }

    /// Offset of what follows `at`, blanks and comments skipped, quietly.
    fn after_layout(&self, at: usize) -> usize {
        let mut probe = Scanner { text: self.text, pos: at, faults: Vec::new() };
        probe.layout();
        probe.pos
    }

    /// Scans one item from its first byte to behind its last.
    fn item(&mut self) -> ItemKind {
        let word = self.word(self.pos).to_vec();
        let next = self.after_layout(self.pos + word.len());
        let after = self.byte(next);
        match word.as_slice() {
            b"struct" | b"union" | b"enum" | b"typedef" if !matches!(after, b':' | b',' | b'/') => {
                self.c_definition(&word);
                ItemKind::C
            }
            b"config" if after == b'=' && self.byte(self.after_layout(next + 1)) == b'{' => {
                self.through_block();
                self.optional_semicolon();
                ItemKind::Config
            }
            b"import" if !matches!(after, b':' | b',' | b'/' | b'{' | b'=') => {
                self.through_statement();
                ItemKind::Import
            }
            b"let" if matches!(after, b'@' | b'$') => {
                self.through_declaration();
                ItemKind::Map
            }
            b"macro" if !matches!(after, b':' | b',' | b'/' | b'{' | b'=') => {
                self.through_block();
                ItemKind::Macro
            }
            b"fn" if is_word(after) => {
                self.through_block();
                ItemKind::Function
            }
            b"" if self.here() == b'#' => {
                self.line_end();
                ItemKind::Directive
            }
            b"" if matches!(self.here(), b'}' | b')' | b']') => {
                self.pos += 1;
                ItemKind::Stray
            }
            _ => {
                self.probe();
                ItemKind::Probe
            }
        }
    }

    /// A tag ends behind its braces, attributes and semicolon, of which the
    /// last is optional; a typedef and a mere declaration with the semicolon.
    fn c_definition(&mut self, word: &[u8]) {
        let typedef = word == b"typedef";
        while self.pos < self.text.len() {
            match self.here() {
                b';' => {
                    self.pos += 1;
                    return;
                }
                b'{' => {
                    self.balanced(Stop::Group);
                    if !typedef {
                        break;
                    }
                }
                b'(' | b'[' => self.balanced(Stop::Group),
                b'/' if matches!(self.byte(self.pos + 1), b'/' | b'*') => self.layout(),
                b'}' => return,
                _ => self.pos += 1,
            }
        }
        while self.word(self.after_layout(self.pos)) == b"__attribute__" {
            self.pos = self.after_layout(self.pos) + b"__attribute__".len();
            let open = self.after_layout(self.pos);
            if self.byte(open) == b'(' {
                self.pos = open;
                self.balanced(Stop::Group);
            }
        }
        self.optional_semicolon();
    }

    fn optional_semicolon(&mut self) {
        let next = self.after_layout(self.pos);
        if self.byte(next) == b';' {
            self.pos = next + 1;
        }
    }

    /// To behind the next block.
    fn through_block(&mut self) {
        while self.pos < self.text.len() {
            match self.here() {
                b'{' => return self.balanced(Stop::Group),
                b'(' => self.balanced(Stop::Group),
                b'"' => self.string(),
                b'/' if matches!(self.byte(self.pos + 1), b'/' | b'*') => self.layout(),
                b'}' | b';' => return,
                _ => self.pos += 1,
            }
        }
    }

    /// To behind the semicolon, but never over a line end.
    fn through_statement(&mut self) {
        while self.pos < self.text.len() && self.here() != b'\n' {
            match self.here() {
                b';' => {
                    self.pos += 1;
                    return;
                }
                b'"' => self.string(),
                _ => self.pos += 1,
            }
        }
    }

    /// `let @m = kind(n)`, semicolon or not.
    fn through_declaration(&mut self) {
        while self.pos < self.text.len() {
            match self.here() {
                b'(' => {
                    self.balanced(Stop::Group);
                    return self.optional_semicolon();
                }
                b';' => {
                    self.pos += 1;
                    return;
                }
                b'"' => self.string(),
                b'{' | b'}' => return,
                _ => self.pos += 1,
            }
        }
    }

    /// Attach points, predicate and block.
    fn probe(&mut self) {
        // In a word with a colon (`uprobe:/bin/*:f`) slashes are text.
        let mut colons = 0;
        while self.pos < self.text.len() {
            match self.here() {
                b'{' => return self.balanced(Stop::Group),
                b'}' | b';' => return,
                b'"' => self.string(),
                b':' => {
                    colons += 1;
                    self.pos += 1;
                    let gap = self.blanks();
                    let next = self.here();
                    if gap && (next == b'/' && colons != 1 || matches!(next, b',' | b'{')) {
                        colons = 0;
                    }
                }
                b',' => {
                    colons = 0;
                    self.pos += 1;
                    self.layout();
                }
                b'/' if colons == 0 => {
                    let before = self.pos;
                    self.layout();
                    if self.pos == before {
                        self.pos += 1;
                        self.balanced(Stop::Predicate);
                    }
                }
                b if b.is_ascii_whitespace() => {
                    colons = 0;
                    self.layout();
                }
                _ => self.pos += 1,
            }
        }
    }

    fn blanks(&mut self) -> bool {
        let start = self.pos;
        while self.here().is_ascii_whitespace() {
            self.pos += 1;
        }
        self.pos > start
    }

    /// Scans text with its brackets until `stop`.
    fn balanced(&mut self, stop: Stop) {
        let mut open: Vec<Open> = Vec::new();
        let mut root = Open { at: self.pos, bracket: 0, ifs: 0, questions: 0 };
        let mut waiting = 0; // all `ifs` and `questions`
        let mut too_deep = false;
        while self.pos < self.text.len() {
            let at = self.pos;
            let b = self.here();
            let depth = open.len();
            let top = open.last_mut().unwrap_or(&mut root);
            match b {
                b'"' => self.string_or_quote(),
                b'\'' => self.character(),
                b'/' if matches!(self.byte(at + 1), b'/' | b'*') => self.layout(),
                b'/' if stop == Stop::Predicate && depth == 0 => {
                    self.pos += 1;
                    if self.byte(self.after_layout(self.pos)) == b'{' {
                        return;
                    }
                }
                b'{' if stop == Stop::Predicate && depth == 0 && !self.wants_operand(at) => return,
                b'{' | b'(' | b'[' => {
                    if b == b'{' && top.ifs > 0 {
                        top.ifs -= 1;
                        waiting -= 1;
                    }
                    open.push(Open { at, bracket: b, ifs: 0, questions: 0 });
                    self.pos += 1;
                }
                b'}' | b')' | b']' => {
                    if depth == 0 {
                        return;
                    }
                    self.close(&mut open, at, &mut waiting);
                    self.pos += 1;
                    if open.is_empty() && stop == Stop::Group {
                        return;
                    }
                }
                b';' => {
                    waiting -= top.ifs + top.questions;
                    (top.ifs, top.questions) = (0, 0);
                    self.pos += 1;
                    if depth == 0 && stop == Stop::Semicolon {
                        return;
                    }
                }
                b'?' => {
                    top.questions += 1;
                    waiting += 1;
                    self.pos += 1;
                }
                b':' if top.questions > 0 => {
                    top.questions -= 1;
                    waiting -= 1;
                    self.pos += 1;
                }
                _ if is_word(b) => {
                    let len = self.word(at).len();
                    if &self.text[at..at + len] == b"if" {
                        top.ifs += 1;
                        waiting += 1;
                    }
                    self.pos += len;
                }
                _ => self.pos += 1,
            }
            if open.len() + waiting > MAX_NESTING && !too_deep {
                too_deep = true;
                self.faults.push(Fault::TooDeep(at));
            }
        }
        if let Some(o) = open.last() {
            self.faults.push(Fault::Unclosed { open: o.at, bracket: o.bracket, at: self.pos, found: None });
        }
    }

    /// A text; of one without an end, the quote alone: what the rest of the line
    /// closes is closed, or everything behind it would be lost as well.
    fn string_or_quote(&mut self) {
        let (at, faults) = (self.pos, self.faults.len());
        self.string();
        if self.faults.len() > faults {
            self.pos = at + 1;
        }
    }

    /// Handles a closing bracket. Where it does not fit the innermost open one,
    /// those up to its partner count as forgotten.
    fn close(&mut self, open: &mut Vec<Open>, at: usize, waiting: &mut usize) {
        let partner = partner(self.here());
        let Some(i) = open.iter().rposition(|o| o.bracket == partner) else {
            self.faults.push(Fault::Stray(at));
            return;
        };
        if i + 1 < open.len() {
            let o = &open[i + 1];
            let fault = Fault::Unclosed { open: o.at, bracket: o.bracket, at, found: Some(self.here()) };
            self.faults.push(fault);
        }
        for o in open.drain(i..) {
            *waiting -= o.ifs + o.questions;
        }
    }

    /// Does the text before `at` end in something that an operand must follow?
    fn wants_operand(&self, at: usize) -> bool {
        let before = self.text[..at].iter().rev().find(|b| !b.is_ascii_whitespace()).copied().unwrap_or(0);
        matches!(
            before,
            b'/' | b'+' | b'-' | b'*' | b'%' | b'&' | b'|' | b'^' | b'=' | b'<' | b'>' | b'!' | b'~' | b'?' | b':'
        )
    }
}

/// The opening bracket of a closing one.
fn partner(close: u8) -> u8 {
    match close {
        b'}' => b'{',
        b')' => b'(',
        _ => b'[',
    }
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

/// The statement around `at` in an item's text, to be blanked out when looking
/// for further errors; `None` outside of every block.
pub(super) fn statement_around(text: &str, at: usize) -> Option<Range<usize>> {
    let mut s = Scanner { text: text.as_bytes(), pos: 0, faults: Vec::new() };
    let mut starts: Vec<usize> = Vec::new();
    let mut parens = vec![0usize];
    let mut floor = None; // depth of the block that holds `at`
    while s.pos < s.text.len() {
        let (pos, b) = (s.pos, s.here());
        if floor.is_none() && pos >= at {
            starts.last()?;
            floor = Some(starts.len());
        }
        match b {
            b'"' => s.string(),
            b'\'' => s.character(),
            b'/' if matches!(s.byte(pos + 1), b'/' | b'*') => s.layout(),
            _ => s.pos += 1,
        }
        let depth = starts.len();
        let nested = parens.last_mut()?;
        match b {
            b'(' => *nested += 1,
            b')' => *nested = nested.saturating_sub(1),
            b';' if *nested == 0 => {
                if floor == Some(depth) {
                    return Some(starts[depth - 1]..pos + 1);
                }
                *starts.last_mut()? = pos + 1;
            }
            b'{' => {
                starts.push(pos + 1);
                parens.push(0);
            }
            b'}' => {
                if floor == Some(depth) {
                    return Some(starts[depth - 1]..pos);
                }
                starts.pop();
                parens.pop();
                let is_else = s.word(s.after_layout(pos + 1)) == b"else";
                if depth > 0 && floor == Some(depth - 1) && parens.last() == Some(&0) && !is_else {
                    return Some(starts[depth - 2]..pos + 1);
                }
                if floor.is_none() && !is_else && parens.last() == Some(&0) {
                    *starts.last_mut()? = pos + 1;
                }
            }
            _ => {}
        }
    }
    None
}
